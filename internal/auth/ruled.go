package auth

// Ruled says that an auth file was in force when the client was identified: who it is may make a difference to what it gets, and being on this machine
// gives it nothing.
func (c Client) Ruled() bool { return c.rules != nil && c.rules.configured }
