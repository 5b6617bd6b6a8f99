//go:build e2e

package builds

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/builder/images"
	"github.com/knit-dev/knit/deploy/e2e/world"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// stand is what all tests share; set once by TestMain.
type stand struct {
	*world.World
	api      client.Client
	registry images.Registry
	cluster  string // name of the instance
	settings map[string]string

	hostile string // the hostile builder, by digest
}

var s stand

func TestMain(m *testing.M) {
	if err := setUp(context.Background()); err != nil {
		fmt.Fprintf(os.Stderr, "end-to-end tests of builds: %v; run them with: make test\n", err)
		os.Exit(1)
	}
	code := m.Run()
	if err := s.change(context.Background(), map[string]string{"allowed-builders": "", "build-memory": "", "build-disk": ""}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func setUp(ctx context.Context) error {
	var err error
	if s.World, err = world.Open(); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	if s.api, err = client.New(s.Config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	instance, err := os.ReadFile(filepath.Join(s.StateDir, "instance.json"))
	if err != nil {
		return err
	}
	var named struct{ Name string }
	if err := json.Unmarshal(instance, &named); err != nil {
		return err
	}
	s.cluster = named.Name
	if err := s.readSettings(ctx); err != nil {
		return err
	}
	if s.hostile, err = s.makeHostileBuilder(ctx); err != nil {
		return fmt.Errorf("make the hostile builder: %w", err)
	}
	settings := map[string]string{"allowed-builders": s.registry.Host + "/e2e/builder-*"}
	maps.Copy(settings, limits)
	return s.change(ctx, settings)
}

// readSettings learns the registry's address, CA and login.
func (s *stand) readSettings(ctx context.Context) error {
	platform, err := s.Kube.CoreV1().ConfigMaps(v1alpha1.NamespaceSystem).Get(ctx, v1alpha1.PlatformConfigMap, metav1.GetOptions{})
	if err != nil {
		return err
	}
	s.settings = platform.Data
	ca, err := s.Kube.CoreV1().ConfigMaps(v1alpha1.NamespaceBuilds).Get(ctx, "registry-ca", metav1.GetOptions{})
	if err != nil {
		return err
	}
	login, err := s.Kube.CoreV1().Secrets(v1alpha1.NamespaceBuilds).Get(ctx, "registry-credentials", metav1.GetOptions{})
	if err != nil {
		return err
	}
	var config struct {
		Auths map[string]struct{ Auth string }
	}
	if err := json.Unmarshal(login.Data[corev1.DockerConfigJsonKey], &config); err != nil {
		return err
	}
	s.registry = images.Registry{Host: s.settings["registry"], Prefix: s.settings["registry-prefix"], CA: x509.NewCertPool()}
	pair, err := base64.StdEncoding.DecodeString(config.Auths[s.registry.Host].Auth)
	if err != nil {
		return err
	}
	s.registry.Username, s.registry.Password, _ = strings.Cut(string(pair), ":")
	if s.registry.Password == "" || !s.registry.CA.AppendCertsFromPEM([]byte(ca.Data["ca.crt"])) {
		return fmt.Errorf("the registry %s has no login or no certificate authority", s.registry.Host)
	}
	return nil
}

// limits are what a build may have while these tests run: little, so that too
// much of it is little, too.
var limits = map[string]string{"build-memory": "1Gi", "build-disk": "384Mi"}

// change sets settings of the platform; "" takes one back.
func (s *stand) change(ctx context.Context, settings map[string]string) error {
	data := map[string]any{}
	for key, value := range settings {
		data[key] = value
		if value == "" {
			data[key] = nil
		}
	}
	patch, err := json.Marshal(map[string]any{"data": data})
	if err != nil {
		return err
	}
	_, err = s.Kube.CoreV1().ConfigMaps(v1alpha1.NamespaceSystem).Patch(ctx, v1alpha1.PlatformConfigMap, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// push sends a source archive to the function service.
func (s *stand) push(t *testing.T, namespace string, archive []byte, digest string) {
	t.Helper()
	path := fmt.Sprintf("/apis/service.knit.dev/v1alpha1/namespaces/%s/sources/%s", namespace, digest)
	// The service comes back a moment after its pod was killed by a test beside.
	s.Eventually(t, "push of a source to "+namespace, func(ctx context.Context) (bool, error) {
		err := s.Kube.Discovery().RESTClient().Put().AbsPath(path).Body(bytes.Clone(archive)).Do(ctx).Error()
		return err == nil, nil
	})
}
