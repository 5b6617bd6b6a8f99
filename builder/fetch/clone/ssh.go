package clone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"

	"github.com/knit-dev/knit/functions/api/gitsource"
)

// sshSession runs git-upload-pack on a server.
type sshSession struct {
	client  *ssh.Client
	session *ssh.Session
	in      io.WriteCloser
	out     io.Reader
	said    *lastWords
	release func() bool // stops watching the context
}

// dialSSH connects and starts the program. The connection ends with ctx.
func dialSSH(ctx context.Context, d *dialer, a gitsource.Address, login *Login) (*sshSession, error) {
	config, err := sshConfig(a, login)
	if err != nil {
		return nil, err
	}
	conn, err := d.DialContext(ctx, "tcp", a.Endpoint())
	if err != nil {
		return nil, serverError("connect", err)
	}
	release := context.AfterFunc(ctx, func() { _ = conn.Close() })
	s, err := startSSH(conn, config, a)
	if err != nil {
		release()
		_ = conn.Close()
		return nil, sshError(a, err)
	}
	s.release = release
	return s, nil
}

func startSSH(conn net.Conn, config *ssh.ClientConfig, a gitsource.Address) (*sshSession, error) {
	// The handshake as a whole, of which the dialer bounds only the pauses.
	timer := time.AfterFunc(dialTimeout, func() { _ = conn.Close() })
	transport, channels, requests, err := ssh.NewClientConn(conn, a.Endpoint(), config)
	if !timer.Stop() && err == nil {
		err = fmt.Errorf("the handshake took more than %s", dialTimeout)
	}
	if err != nil {
		return nil, err
	}
	client := ssh.NewClient(transport, channels, requests)
	session, err := client.NewSession()
	if err != nil {
		return nil, err
	}
	s := &sshSession{client: client, session: session, said: &lastWords{}}
	session.Stderr = s.said
	if s.in, err = session.StdinPipe(); err != nil {
		return nil, err
	}
	if s.out, err = session.StdoutPipe(); err != nil {
		return nil, err
	}
	return s, session.Start("git-upload-pack " + quote(a.Path))
}

// quote is one word for the server's shell.
func quote(path string) string { return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'" }

// sshConfig refuses to begin without a key for the server and without knowing
// the server's own.
func sshConfig(a gitsource.Address, login *Login) (*ssh.ClientConfig, error) {
	if !login.isFor(a) || len(login.Key) == 0 {
		return nil, fmt.Errorf("%w: there is no key for %s; name a Secret of type kubernetes.io/ssh-auth in git.secretName whose annotation %s has this host", ErrRefused, a.Endpoint(), gitsource.HostsAnnotation)
	}
	if login.KnownHosts == "" {
		return nil, fmt.Errorf("%w: the keys of SSH servers are not known; put the output of `ssh-keyscan %s` into the Secret under %s, after comparing it with what the server's owner publishes", ErrRefused, a.Host, FileKnownHosts)
	}
	signer, err := ssh.ParsePrivateKey(login.Key)
	if missing := new(ssh.PassphraseMissingError); errors.As(err, &missing) {
		return nil, fmt.Errorf("%w: the key in the Secret has a passphrase; a build cannot type it", ErrRefused)
	}
	if err != nil {
		// The error of the package could hold parts of the key.
		return nil, fmt.Errorf("%w: %s of the Secret is no private key in PEM", ErrRefused, FileKey)
	}
	known, err := knownhosts.NewDB(login.KnownHosts)
	if err != nil {
		return nil, fmt.Errorf("%w: %s of the Secret cannot be read: %w", ErrRefused, FileKnownHosts, err)
	}
	return &ssh.ClientConfig{
		User: a.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: known.HostKeyCallback(), HostKeyAlgorithms: known.HostKeyAlgorithms(a.Endpoint()),
		ClientVersion: "SSH-2.0-knit",
	}, nil
}

// sshError says what to do about what can be told apart.
func sshError(a gitsource.Address, err error) error {
	switch {
	case knownhosts.IsHostKeyChanged(err):
		return fmt.Errorf("%w: the key of %s is another than in %s; somebody may stand in between", ErrServer, a.Endpoint(), FileKnownHosts)
	case knownhosts.IsHostUnknown(err):
		return fmt.Errorf("%w: %s has no key of %s; add it", ErrServer, FileKnownHosts, a.Endpoint())
	case strings.Contains(err.Error(), "unable to authenticate"):
		return fmt.Errorf("%w: it does not take the key of the Secret for user %s", ErrServer, a.User)
	}
	return serverError("begin", err)
}

func (s *sshSession) refs(context.Context) (io.ReadCloser, error) { return s.reader(), nil }

func (s *sshSession) pack(_ context.Context, request []byte) (io.ReadCloser, error) {
	if _, err := s.in.Write(request); err != nil {
		return nil, serverError("send the request", err)
	}
	if err := s.in.Close(); err != nil {
		return nil, serverError("send the request", err)
	}
	return s.reader(), nil
}

// reader is the program's output. When it ends early, what the program said
// besides tells why.
func (s *sshSession) reader() io.ReadCloser { return io.NopCloser(&sshReader{s}) }

type sshReader struct{ session *sshSession }

func (r *sshReader) Read(p []byte) (int, error) {
	n, err := r.session.out.Read(p)
	if n == 0 && errors.Is(err, io.EOF) {
		// All of it is here once the program has ended.
		_ = r.session.session.Wait()
		if said := r.session.said.String(); said != "" {
			return 0, fmt.Errorf("%w: it said %q", ErrServer, said)
		}
	}
	return n, err
}

// Close ends the connection, whatever the program still does.
func (s *sshSession) Close() error {
	s.release()
	_ = s.session.Close()
	return s.client.Close()
}

// lastWords keeps the beginning of what a program says on its standard error.
type lastWords struct {
	mu   sync.Mutex
	text []byte
}

const maxWords = 300

func (w *lastWords) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p[:min(len(p), maxWords-len(w.text))]...)
	return len(p), nil
}

func (w *lastWords) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.TrimSpace(string(w.text))
}
