package clone

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/knit-dev/knit/functions/api/gitsource"
)

// The files of a login: the keys of a Secret of type kubernetes.io/basic-auth or
// kubernetes.io/ssh-auth, and the hosts that it is for.
const (
	FileUsername   = "username"
	FilePassword   = "password"
	FileKey        = "ssh-privatekey"
	FileKnownHosts = "known_hosts"
	FileCA         = "ca.crt"
	FileHosts      = "hosts"
)

// maxLoginFile is the largest file of a login, in bytes.
const maxLoginFile = 1 << 20

// Login is what a server is shown, and what it must show.
type Login struct {
	// Hosts are the only ones that the login is sent to.
	Hosts gitsource.CredentialHosts
	// Username and Password are for HTTPS.
	Username, Password string
	// Key is a private key in PEM, for SSH.
	Key []byte
	// KnownHosts is the path of a known_hosts file with the keys of SSH servers.
	KnownHosts string
	// CA are more certificate authorities in PEM, for HTTPS.
	CA []byte
}

// ReadLogin reads a login from a folder, which may lack files.
func ReadLogin(dir string) (*Login, error) {
	read := func(name string) ([]byte, error) {
		file := filepath.Join(dir, name)
		info, err := os.Stat(file)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err == nil && info.Size() > maxLoginFile {
			err = fmt.Errorf("it has more than %d bytes", maxLoginFile)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s of the git Secret: %w", name, err)
		}
		return os.ReadFile(file)
	}
	files := map[string][]byte{}
	for _, name := range []string{FileUsername, FilePassword, FileKey, FileKnownHosts, FileCA, FileHosts} {
		content, err := read(name)
		if err != nil {
			return nil, err
		}
		files[name] = content
	}
	hosts, err := gitsource.ParseCredentialHosts(string(files[FileHosts]))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	l := &Login{
		Hosts:    hosts,
		Username: strings.TrimSpace(string(files[FileUsername])), Password: strings.TrimRight(string(files[FilePassword]), "\r\n"),
		Key: files[FileKey], CA: files[FileCA],
	}
	if len(files[FileKnownHosts]) > 0 {
		l.KnownHosts = filepath.Join(dir, FileKnownHosts)
	}
	return l, nil
}

func (l *Login) isFor(a gitsource.Address) bool { return l != nil && l.Hosts.Allow(a) }
