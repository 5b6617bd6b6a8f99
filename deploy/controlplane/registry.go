package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// readPlatform reads what the process itself must know of the platform. A
// change comes with new pods, because the installer marks them with it.
func readPlatform(ctx context.Context, reader client.Reader, namespace string) (v1alpha1.Platform, error) {
	var settings corev1.ConfigMap
	key := client.ObjectKey{Namespace: namespace, Name: v1alpha1.PlatformConfigMap}
	if err := reader.Get(ctx, key, &settings); err != nil {
		return v1alpha1.Platform{}, fmt.Errorf("read the platform settings in ConfigMap %s (run knit install): %w", key, err)
	}
	return v1alpha1.ParsePlatform(settings.Data)
}

// registryTransport reaches the registry. It trusts the authorities in the
// file besides the system's; the file may be absent.
func registryTransport(file string) (http.RoundTripper, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return transport, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the registry's certificate authorities: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return transport, nil
}
