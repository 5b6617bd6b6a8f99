// Package gitsource says which git servers Knit goes to: it reads the address
// of a repository, and knows which hosts and network addresses a platform
// allows. The API validates with it, the Build controller checks before it
// makes a pod, and the fetch program checks again whenever it dials. It is pure
// and resolves no names.
package gitsource

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// maxURL is the longest address of a repository, in bytes.
const maxURL = 2048

// The ways to a git server.
const (
	HTTPS = "https"
	SSH   = "ssh"
)

var usualPorts = map[string]string{HTTPS: "443", SSH: "22"}

// Address is where a repository is.
type Address struct {
	// Scheme is HTTPS or SSH.
	Scheme string
	// User of an SSH server; empty for HTTPS, whose users come from a Secret.
	User string
	// Host is a name in lower case, or an IP address without brackets.
	Host string
	// Port is a decimal number; the usual one when the address named none.
	Port string
	// Path of the repository as the server gets it.
	Path string
	// scp says that the address had the form user@host:path, whose path is
	// relative to the user's home.
	scp bool
}

// scpForm is user@host:path, as ssh's scp has it.
var scpForm = regexp.MustCompile(`^(?:([^@/:\[\]]+)@)?(\[[^\]]*\]|[^@/:\[\]]+):(.*)$`)

// helperForm is what git takes for "run the program git-remote-<name>".
var helperForm = regexp.MustCompile(`^[A-Za-z0-9+.-]*::`)

// userName is what is taken as the user of an SSH server.
var userName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$`)

// Parse reads the address of a repository. Its errors are for the author of a
// manifest: they say what to write instead, and repeat no password.
func Parse(raw string) (Address, error) {
	switch {
	case raw == "":
		return Address{}, errors.New("the git address is empty; write https://host/path, ssh://git@host/path or git@host:path")
	case len(raw) > maxURL:
		return Address{}, fmt.Errorf("the git address is longer than %d bytes", maxURL)
	case strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' || r > 0x7e }):
		return Address{}, errors.New("the git address has a space, a backslash, a control character or one beyond ASCII; percent-encode what belongs to the path")
	case strings.HasPrefix(raw, "-"):
		return Address{}, errors.New("the git address begins with \"-\", which programs take for an option")
	case helperForm.MatchString(raw):
		return Address{}, errors.New("the git address names a transport helper (\"…::…\"), which would run a program; use https:// or ssh://")
	case strings.Contains(raw, "://"):
		return parseURL(raw)
	}
	return parseSCP(raw)
}

func parseURL(raw string) (Address, error) {
	scheme, _, _ := strings.Cut(raw, "://")
	switch strings.ToLower(scheme) {
	case HTTPS, SSH:
	case "http", "git":
		return Address{}, fmt.Errorf("%s:// is refused: whoever is on the way could change the code; use https:// or ssh://", scheme)
	case "file":
		return Address{}, errors.New("file:// is refused: a build has no files of yours; push a folder with `knit deploy`, or use https:// or ssh://")
	default:
		return Address{}, fmt.Errorf("%q is no scheme for git sources; use https:// or ssh://", scheme)
	}
	u, err := url.Parse(raw)
	if err != nil {
		// The error of the package repeats the whole address, password included.
		return Address{}, errors.New("the git address is no valid URL; write https://host/path or ssh://git@host/path")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.RawFragment != "" {
		return Address{}, errors.New("the git address has a query or a fragment; a branch, tag or commit goes into revision, a folder into path")
	}
	a := Address{Scheme: strings.ToLower(u.Scheme), Host: u.Hostname(), Port: u.Port(), Path: u.EscapedPath()}
	if err := a.takeUser(u.User); err != nil {
		return Address{}, err
	}
	if a.Scheme == SSH {
		a.Path = u.Path
	}
	return a.complete()
}

// takeUser refuses secrets in the address: manifests are in repositories, and
// everybody who may read a Function reads its spec.
func (a *Address) takeUser(user *url.Userinfo) error {
	if a.Scheme == HTTPS {
		if user != nil {
			return errors.New("the git address holds a user or a token; put them into a Secret of type kubernetes.io/basic-auth and name it in secretName")
		}
		return nil
	}
	if _, has := user.Password(); has {
		return errors.New("the git address holds a password; put a key into a Secret of type kubernetes.io/ssh-auth and name it in secretName")
	}
	a.User = user.Username()
	return nil
}

func parseSCP(raw string) (Address, error) {
	m := scpForm.FindStringSubmatch(raw)
	if m == nil {
		return Address{}, errors.New("the git address is none of https://host/path, ssh://git@host/path and git@host:path")
	}
	a := Address{Scheme: SSH, User: m[1], Host: strings.Trim(m[2], "[]"), Path: m[3], scp: true}
	return a.complete()
}

// complete fills in what is usual and checks every part.
func (a Address) complete() (Address, error) {
	if a.Scheme == SSH {
		if a.User == "" {
			a.User = "git"
		}
		if !userName.MatchString(a.User) {
			return Address{}, errors.New("the user in the git address is none of an SSH server: letters, digits, '.', '_' and '-', not beginning with '-'")
		}
	}
	if a.Port == "" {
		a.Port = usualPorts[a.Scheme]
	}
	if n, err := strconv.ParseUint(a.Port, 10, 16); err != nil || n == 0 {
		return Address{}, fmt.Errorf("the port %q of the git address is no number from 1 to 65535", a.Port)
	}
	host, err := cleanHost(a.Host)
	if err != nil {
		return Address{}, err
	}
	a.Host = host
	switch {
	case strings.Trim(a.Path, "/") == "":
		return Address{}, errors.New("the git address names no repository: its path is empty")
	case strings.HasPrefix(a.Path, "-"):
		return Address{}, errors.New("the path of the git address begins with \"-\", which the server's git would take for an option")
	case a.Scheme == SSH && strings.ContainsFunc(a.Path, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return Address{}, errors.New("the path of the git address has a control character")
	}
	return a, nil
}

// label is one part of a host name.
var label = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$`)

// numeric is a last label that old resolvers read as a part of an IPv4 address.
var numeric = regexp.MustCompile(`^(0x[0-9a-f]*|[0-9]+)$`)

func cleanHost(host string) (string, error) {
	if host == "" {
		return "", errors.New("the git address names no host")
	}
	if address, err := netip.ParseAddr(host); err == nil {
		if address.Zone() != "" {
			return "", fmt.Errorf("the host %q of the git address has a zone", host)
		}
		return address.Unmap().String(), nil
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	labels := strings.Split(host, ".")
	for _, l := range labels {
		if !label.MatchString(l) || len(host) > 253 {
			return "", fmt.Errorf("%q is neither a host name nor an address", host)
		}
	}
	if numeric.MatchString(labels[len(labels)-1]) {
		return "", fmt.Errorf("%q is neither a host name nor an address in its usual form", host)
	}
	return host, nil
}

// Endpoint is host:port.
func (a Address) Endpoint() string { return net.JoinHostPort(a.Host, a.Port) }

// String is the address in one form, for messages. It holds no secret.
func (a Address) String() string {
	host := a.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if a.scp {
		return a.User + "@" + host + ":" + a.Path
	}
	if a.Port != usualPorts[a.Scheme] {
		host += ":" + a.Port
	}
	if a.Scheme == SSH {
		return "ssh://" + a.User + "@" + host + (&url.URL{Path: a.Path}).EscapedPath()
	}
	return "https://" + host + a.Path
}

// Resolve reads an address that stands in a repository at a, such as that of a
// submodule: one that begins with "./" or "../" is relative to a.
func (a Address) Resolve(raw string) (Address, error) {
	if !strings.HasPrefix(raw, "./") && !strings.HasPrefix(raw, "../") {
		return Parse(raw)
	}
	resolved := a
	if resolved.Path = path.Join(a.Path, raw); a.scp {
		resolved.Path = strings.TrimPrefix(path.Join("/", a.Path, raw), "/")
	}
	return Parse(resolved.String())
}
