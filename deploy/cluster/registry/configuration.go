package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	distribution "github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd" // the kind of login named below
	"golang.org/x/crypto/bcrypt"
)

type config = distribution.Configuration

// catalogLimit is the most repositories that one answer of /v2/_catalog names.
const catalogLimit = 1000

// configuration is the library's, with all that an embedded registry does not
// want switched off: no cache of descriptors (it would answer for blobs that a
// collection removed), no timer of its own for old uploads (Collect does it), no
// debug server, no notifications.
func configuration(store *disk, users, password string) *config {
	c := &config{
		Storage: distribution.Storage{
			driverName:    {driverParameter: store},
			"delete":      {"enabled": true},
			"redirect":    {"disable": true},
			"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
		},
		Auth:    distribution.Auth{"htpasswd": {"realm": "knit registry", "path": users}},
		Catalog: distribution.Catalog{MaxEntries: catalogLimit},
	}
	// Clients follow locations relative to the name they used, whichever it was.
	c.HTTP.RelativeURLs = true
	// The state of an upload is signed with this, so an upload can go on after a restart.
	sum := sha256.Sum256([]byte("knit registry upload state\x00" + password))
	c.HTTP.Secret = hex.EncodeToString(sum[:])
	return c
}

// writeUsers writes the file that names the one user and returns its path.
//
// Every request pays for the hash, about 60 ms at bcrypt's default cost. The
// lowest cost is sound here: only root reads the file, and the password is
// random, so there is nothing to guess.
func writeUsers(root, username, password string) (string, error) {
	if strings.ContainsAny(username, ":\r\n") {
		return "", fmt.Errorf("registry user %q: a colon or a line break cannot be part of it", username)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return "", fmt.Errorf("password of registry user %q: %w", username, err)
	}
	path := filepath.Join(root, "htpasswd")
	if err := os.WriteFile(path+".new", fmt.Appendf(nil, "%s:%s\n", username, hash), 0o600); err != nil {
		return "", fmt.Errorf("write the registry's user: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return "", fmt.Errorf("write the registry's user: %w", err)
	}
	return path, nil
}
