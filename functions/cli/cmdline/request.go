package cmdline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// maxErrorBody bounds what is read of an answer that is an error.
const maxErrorBody = 64 << 10

// URL returns the address of a path of the API server; path may end in a query.
func (c *Cluster) URL(path string) (string, error) {
	base, _, err := rest.DefaultServerUrlFor(c.Config)
	if err != nil {
		return "", fmt.Errorf("read the address of the API server %q: %w", c.Config.Host, err)
	}
	return strings.TrimSuffix(base.String(), "/") + path, nil
}

// Do sends a request for a path of the API server with the caller's identity.
// An answer of 400 and above is returned as the Kubernetes error it holds.
// Length is the body's size in bytes, 0 without a body.
func (c *Cluster) Do(ctx context.Context, method, path string, body io.Reader, length int64) (*http.Response, error) {
	address, err := c.URL(path)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, err
	}
	request.ContentLength = length
	return c.Send(request)
}

// Send sends a request, made for an address of URL, like Do.
func (c *Cluster) Send(request *http.Request) (*http.Response, error) {
	response, err := c.HTTP.Do(request)
	if err != nil {
		return nil, unwrapURL(err)
	}
	if response.StatusCode < http.StatusBadRequest {
		return response, nil
	}
	defer response.Body.Close()
	return nil, StatusError(response)
}

// StatusError reads the error that an answer of the API server holds.
func StatusError(response *http.Response) error {
	raw, _ := io.ReadAll(io.LimitReader(response.Body, maxErrorBody))
	var status metav1.Status
	if json.Unmarshal(raw, &status) == nil && status.Kind == "Status" && status.Message != "" {
		return &apierrors.StatusError{ErrStatus: status}
	}
	verb := strings.ToLower(response.Request.Method)
	generic := apierrors.NewGenericServerResponse(response.StatusCode, verb, schema.GroupResource{}, "", strings.TrimSpace(string(raw)), 0, true)
	return generic
}

// unwrapURL drops "Get https://…:" from a transport's error: the command says
// in its own words what it tried.
func unwrapURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
