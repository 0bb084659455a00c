package auth

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/GehirnInc/crypt/sha256_crypt"
	"github.com/GehirnInc/crypt/sha512_crypt"
	"golang.org/x/crypto/bcrypt"
)

// How much work one check may be: more would let each guess, right or wrong, hold a core for seconds. Bcrypt's cost is a power of two; 14 takes about
// a second.
const (
	costliestBcrypt = 14
	mostRounds      = 500_000 // of SHA-crypt, whose default is 5,000
	longestPassword = 256     // bytes; SHA-crypt's work grows with it
)

var (
	bcryptHash = regexp.MustCompile(`^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$`)
	shaCrypt   = regexp.MustCompile(`^\$[56]\$(?:rounds=([0-9]{1,9})\$)?[./A-Za-z0-9]{1,16}\$(?:[./A-Za-z0-9]{43}|[./A-Za-z0-9]{86})$`)
)

// addPasswords reads an htpasswd file: a name and a hash a line. The text of a hash is never in an error.
func (r *Rules) addPasswords(file string) error {
	data, err := readLimited(file)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, hash, ok := strings.Cut(line, ":")
		hash, _, _ = strings.Cut(hash, ":") // more fields may follow
		switch {
		case !ok || name == "" || strings.HasPrefix(name, tokenPrefix):
			return fmt.Errorf("%s:%d: it is no name and hash with a colon between", file, n)
		case r.htpasswd[name] != "":
			return fmt.Errorf("%s:%d: %.64q is there already", file, n, name)
		}
		work, err := hashKind(hash)
		if err != nil {
			return fmt.Errorf("%s:%d: %.64q has %w", file, n, name, err)
		}
		r.htpasswd[name] = hash
		// The decoy is the costliest hash of all: where a file has hashes of one kind and cost, as it should, a name that is not there takes as long as
		// one that is.
		if most, err := hashKind(r.decoy); err != nil || work > most {
			r.decoy = hash
		}
	}
	return lines.Err()
}

// hashKind accepts a stored hash, and says about how much work checking it is; only that more is more matters.
func hashKind(hash string) (work int, err error) {
	if m := bcryptHash.FindStringSubmatch(hash); m != nil {
		cost, _ := strconv.Atoi(m[1])
		if cost < bcrypt.MinCost || cost > costliestBcrypt {
			return 0, fmt.Errorf("a bcrypt cost of %d, and it must be from %d to %d", cost, bcrypt.MinCost, costliestBcrypt)
		}
		return 100 << cost, nil
	}
	if m := shaCrypt.FindStringSubmatch(hash); m != nil {
		rounds := 5000
		if m[1] != "" {
			rounds, _ = strconv.Atoi(m[1])
		}
		if rounds < 1000 || rounds > mostRounds {
			return 0, fmt.Errorf("%d rounds of SHA-crypt, and they must be from 1000 to %d", rounds, mostRounds)
		}
		return rounds, nil
	}
	weak := "an unknown or unhashed password"
	switch {
	case strings.HasPrefix(hash, "$apr1$"), strings.HasPrefix(hash, "$1$"):
		weak = "an MD5 hash"
	case strings.HasPrefix(hash, "{SHA}"), strings.HasPrefix(hash, "{SSHA}"):
		weak = "a single SHA-1, which is tried a billion times a second"
	case strings.HasPrefix(hash, "$2") || strings.HasPrefix(hash, "$5$") || strings.HasPrefix(hash, "$6$"):
		weak = "a malformed hash"
	}
	return 0, errors.New(weak + "; only bcrypt (htpasswd -B) and SHA-crypt (htpasswd -2 or -5) are taken")
}

// matches does the work of one check. The hash was accepted by hashKind.
func matches(hash, password string) bool {
	switch {
	case strings.HasPrefix(hash, "$5$"):
		return sha256_crypt.New().Verify(hash, []byte(password)) == nil
	case strings.HasPrefix(hash, "$6$"):
		return sha512_crypt.New().Verify(hash, []byte(password)) == nil
	}
	return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
}
