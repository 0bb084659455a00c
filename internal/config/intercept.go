package config

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// setInterceptCA reads a certificate and its key, which stand in one PEM file or in FILE and FILE.key. A change of either asks for a reload.
func setInterceptCA(c *Config, v value) error {
	file := v.file()
	data, err := readSmall(file)
	if err != nil {
		return fileProblem(file, err)
	}
	files := []string{file}
	key := data
	if !holdsKey(data) {
		if key, err = readSmall(file + ".key"); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s holds no key, and there is no %s.key", file, file)
		} else if err != nil {
			return fileProblem(file+".key", err)
		}
		files = append(files, file+".key")
	}
	pair, err := tls.X509KeyPair(data, key)
	if err != nil {
		return fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "tls: "))
	}
	c.InterceptCA, c.files = &pair, append(c.files, files...)
	return nil
}

// holdsKey says that there is a private key of any form among the PEM blocks.
func holdsKey(data []byte) bool {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return true
		}
	}
	return false
}

// parseRealm accepts the host of a server that gives out tokens.
func parseRealm(s string) (string, error) {
	if strings.Contains(s, "://") {
		u, err := parseURL(s, "http", "https")
		if err != nil {
			return "", err
		}
		s = u.Hostname()
	}
	return parseHost(s)
}
