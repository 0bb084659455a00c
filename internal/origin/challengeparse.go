package origin

import "strings"

// bearerChallenge finds the first challenge of the Bearer scheme with a realm in WWW-Authenticate fields (RFC 9110 section 11.6.1).
func bearerChallenge(lines []string) (challenge, bool) {
	for _, line := range lines {
		p := params{rest: line}
		var c challenge
		for p.next() {
			if p.name == "" { // a scheme begins
				if c.realm != "" {
					return c, true
				}
				continue
			}
			if !strings.EqualFold(p.scheme, "Bearer") {
				continue
			}
			switch strings.ToLower(p.name) {
			case "realm":
				c.realm = p.value
			case "service":
				c.service = p.value
			case "scope":
				c.scope = p.value
			}
		}
		if c.realm != "" {
			return c, true
		}
	}
	return challenge{}, false
}

// params walks a list of challenges: after each next, name and value are a parameter of scheme, or name is empty and scheme begins.
type params struct {
	rest, scheme, name, value string
}

const tokenLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"

func (p *params) next() bool {
	p.rest = strings.TrimLeft(p.rest, " \t,")
	word := p.rest[:len(p.rest)-len(strings.TrimLeft(p.rest, tokenLetters+"/"))] // the slash is of a token68
	if word == "" {
		return false // the end, or what is no challenge
	}
	p.rest = p.rest[len(word):]
	after := strings.TrimLeft(p.rest, " \t")
	value, isParam := strings.CutPrefix(after, "=")
	value = strings.TrimLeft(value, " \t")
	if isParam && (value == "" || value[0] == '=' || value[0] == ',') { // the padding of a token68
		p.rest = strings.TrimLeft(value, "= \t")
		p.name, p.value = "token68", ""
		return true
	}
	if !isParam {
		p.scheme, p.name, p.value = word, "", ""
		return true
	}
	p.name = word
	p.value, p.rest = paramValue(value)
	return true
}

// paramValue cuts a parameter's value, a token or a quoted string, off the front.
func paramValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		value = s[:len(s)-len(strings.TrimLeft(s, tokenLetters+"/:?=@"))] // a bare URL is against the grammar, and sent
		return value, s[len(value):]
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "" // never closed
}
