package clone

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/knit-dev/knit/functions/api/gitsource"
)

const (
	// maxRedirects is how often a server may send on.
	maxRedirects = 5
	// userAgent begins as that of git, by which servers know a client.
	userAgent = "git/2.40 (knit)"

	refsType   = "application/x-git-upload-pack-advertisement"
	askType    = "application/x-git-upload-pack-request"
	answerType = "application/x-git-upload-pack-result"
	refsPath   = "/info/refs"
	refsQuery  = "?service=git-upload-pack"
)

// httpsSession speaks git's smart HTTP.
type httpsSession struct {
	base   string // of the repository; moves with a redirect of the first request
	client *http.Client
}

func newHTTPS(d *dialer, a gitsource.Address, login *Login) (*httpsSession, error) {
	roots, err := login.roots()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DialContext: d.DialContext,
		// No proxy: the address that is checked must be the one that answers.
		Proxy:                  nil,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    dialTimeout,
		ResponseHeaderTimeout:  idleTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
	}
	client := &http.Client{
		Transport:     &loginTransport{to: transport, login: login},
		CheckRedirect: func(request *http.Request, via []*http.Request) error { return checkRedirect(d.policy, request, via) },
	}
	return &httpsSession{base: strings.TrimSuffix(a.String(), "/"), client: client}, nil
}

// Close lets the connections go.
func (s *httpsSession) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

func (s *httpsSession) refs(ctx context.Context) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+refsPath+refsQuery, nil)
	if err != nil {
		return nil, err
	}
	answer, err := s.do(request, refsType)
	if err != nil {
		return nil, err
	}
	// As with git: a repository that has moved is asked where it is now.
	at := *answer.Request.URL
	at.RawQuery = ""
	base, ok := strings.CutSuffix(at.String(), refsPath)
	if !ok {
		_ = answer.Body.Close()
		return nil, fmt.Errorf("%w: it sends on to %s, which is no repository", ErrServer, at.Redacted())
	}
	s.base = base
	return answer.Body, nil
}

func (s *httpsSession) pack(ctx context.Context, text []byte) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/git-upload-pack", bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", askType)
	answer, err := s.do(request, answerType)
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

func (s *httpsSession) do(request *http.Request, want string) (*http.Response, error) {
	request.Header.Set("User-Agent", userAgent)
	request.Header.Set("Accept", want)
	answer, err := s.client.Do(request)
	if err != nil {
		return nil, httpError(err)
	}
	if err := checkAnswer(answer, want); err != nil {
		_ = answer.Body.Close()
		return nil, err
	}
	return answer, nil
}

// httpError drops the address that net/http puts in front: the caller names it.
func httpError(err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	return serverError("connect", err)
}

func checkAnswer(answer *http.Response, want string) error {
	switch code := answer.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fmt.Errorf("%w: it wants another login (%d); name a Secret of type kubernetes.io/basic-auth in git.secretName whose annotation %s has this host, and check what it may read", ErrServer, code, gitsource.HostsAnnotation)
	case code == http.StatusNotFound || code == http.StatusGone:
		return fmt.Errorf("%w: there is no such repository (%d); a private one may answer so without a login: see git.secretName", ErrServer, code)
	case code != http.StatusOK:
		return fmt.Errorf("%w: it answered %d to %s", ErrServer, code, answer.Request.Method)
	case answer.Header.Get("Content-Type") != want:
		return fmt.Errorf("%w: it answered %.60q and not as a git server does; check git.url", ErrServer, answer.Header.Get("Content-Type"))
	}
	return nil
}

// checkRedirect lets the first request be sent on, to HTTPS only. The dialer
// looks at where it leads.
func checkRedirect(policy gitsource.Policy, request *http.Request, via []*http.Request) error {
	if request.Method != http.MethodGet || len(via) >= maxRedirects {
		return fmt.Errorf("%w: it sends on too often", ErrServer)
	}
	at := *request.URL
	at.RawQuery = ""
	address, err := gitsource.Parse(at.String())
	if err == nil && address.Scheme != gitsource.HTTPS {
		err = errors.New("it is not https")
	}
	if err == nil {
		err = policy.Check(address)
	}
	if err != nil {
		return fmt.Errorf("%w: the server sends on to another address: %w", ErrRefused, err)
	}
	return nil
}

// loginTransport adds the login to requests to the hosts that it is for, and to
// no other, whoever sent the client there.
type loginTransport struct {
	to    http.RoundTripper
	login *Login
}

func (t *loginTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Del("Authorization")
	at := *request.URL
	at.RawQuery = ""
	if address, err := gitsource.Parse(at.String()); err == nil && t.login.isFor(address) && t.login.Password != "" {
		request.SetBasicAuth(t.login.Username, t.login.Password)
	}
	return t.to.RoundTrip(request)
}

// CloseIdleConnections implements what http.Client looks for.
func (t *loginTransport) CloseIdleConnections() {
	if c, ok := t.to.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// roots are the machine's authorities and those of the login; nil means the
// machine's alone.
func (l *Login) roots() (*x509.CertPool, error) {
	if l == nil || len(l.CA) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(l.CA) {
		return nil, fmt.Errorf("%w: ca.crt of the Secret holds no PEM certificate", ErrRefused)
	}
	return pool, nil
}
