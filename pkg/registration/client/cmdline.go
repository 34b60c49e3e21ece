package client

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxCommandLine is more than any kernel accepts.
const maxCommandLine = 64 << 10

// readCommandLine takes rancheros.install.registration_url and .registration_ca_cert, and rancherd.server, .token and .role, from the
// kernel command line.
func (s *Settings) readCommandLine(root string) error {
	path := filepath.Join(root, "proc/cmdline")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		s.warn("skipped: %v", err)
		return nil
	}
	if len(data) > maxCommandLine {
		return fmt.Errorf("the kernel command line has %d bytes", len(data))
	}
	return s.parseCommandLine(root, string(data))
}

func (s *Settings) parseCommandLine(root, line string) error {
	const origin = "kernel command line"
	for _, word := range splitCommandLine(line) {
		name, value, _ := strings.Cut(word, "=")
		if value == "" {
			continue
		}
		var err error
		switch normalizeKey(name) {
		case "rancheros.install.registrationurl":
			err = s.set("registrationurl", value, &s.RegistrationURL, origin)
		case "rancheros.install.registrationcacert":
			if value, err = commandLineCA(root, value); err == nil {
				err = s.set("registrationcacert", value, &s.RegistrationCA, origin)
			}
		case "rancherd.server":
			err = s.set("server", value, &s.Server, origin)
		case "rancherd.token":
			err = s.set("token", value, &s.Token, origin)
		case "rancherd.role":
			err = s.set("role", value, &s.Role, origin)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", origin, err)
		}
	}
	return nil
}

// commandLineCA reads a CA that cannot be written in one word: as a path below the root, as base64 of PEM, or as PEM with `\n`.
func commandLineCA(root, value string) (string, error) {
	switch {
	case strings.HasPrefix(value, "-----BEGIN "):
		return value, nil
	case strings.HasPrefix(value, "/"):
		data, err := os.ReadFile(filepath.Join(root, value))
		if err != nil {
			return "", fmt.Errorf("reading registration_ca_cert: %w", err)
		}
		return string(data), nil
	default:
		data, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return "", fmt.Errorf("registration_ca_cert is neither a path nor base64 of PEM")
		}
		return string(data), nil
	}
}

// splitCommandLine splits at white space outside double quotes, as the kernel does. Quotes are dropped.
func splitCommandLine(line string) []string {
	var words []string
	var word strings.Builder
	quoted := false
	for _, r := range line + " " {
		switch {
		case r == '"':
			quoted = !quoted
		case !quoted && (r == ' ' || r == '\t' || r == '\n'):
			if word.Len() > 0 {
				words = append(words, word.String())
				word.Reset()
			}
		default:
			word.WriteRune(r)
		}
	}
	return words
}
