//go:build e2e

package conformance

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/knit-dev/knit/builder/images"
	"github.com/knit-dev/knit/deploy/cluster/instance"
)

// repositories is where the images go in the cluster's registry.
const repositories = "conformance"

// pushImages builds the suite's programs and pushes them to the cluster's
// registry. It returns the repository before their names and their common tag.
func pushImages(ctx context.Context, kube kubernetes.Interface) (repository, tag string, err error) {
	registry, err := findRegistry(ctx, kube)
	if err != nil {
		return "", "", err
	}
	built, err := buildImages(ctx)
	if err != nil {
		return "", "", err
	}
	if tag, err = commonTag(built); err != nil {
		return "", "", err
	}
	for name, image := range built {
		if _, err := registry.Push(ctx, name, image, tag); err != nil {
			return "", "", fmt.Errorf("push %s: %w", name, err)
		}
	}
	return registry.Host + "/" + repositories, tag, nil
}

func buildImages(ctx context.Context) (map[string]v1.Image, error) {
	dir, err := filepath.Abs("..") // the module folder; tests run in that of their package
	if err != nil {
		return nil, err
	}
	cache, err := images.OpenCache(instance.Default().CacheDir)
	if err != nil {
		return nil, err
	}
	var commands []images.Command
	for name, path := range TestImages {
		commands = append(commands, images.Command{Name: repositories + "/" + name, Package: path, Dir: dir})
	}
	return images.Commands(ctx, cache, func(line string) { fmt.Fprintln(os.Stderr, line) }, commands)
}

// commonTag is made from the content of all images, so that a node never runs
// an older one of the same name: the suite's pods pull only what is missing.
func commonTag(built map[string]v1.Image) (string, error) {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(built)) {
		digest, err := built[name].Digest()
		if err != nil {
			return "", fmt.Errorf("digest of %s: %w", name, err)
		}
		fmt.Fprintln(sum, digest)
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

// findRegistry reads address, CA and login from the objects that the cluster
// keeps about itself.
func findRegistry(ctx context.Context, kube kubernetes.Interface) (images.Registry, error) {
	cluster, err := kube.CoreV1().ConfigMaps("kube-system").Get(ctx, "knit-cluster", metav1.GetOptions{})
	if err != nil {
		return images.Registry{}, fmt.Errorf("find the cluster's registry: %w", err)
	}
	secret, err := kube.CoreV1().Secrets("kube-system").Get(ctx, "knit-registry", metav1.GetOptions{})
	if err != nil {
		return images.Registry{}, fmt.Errorf("find the login of the cluster's registry: %w", err)
	}
	var login struct {
		Auths map[string]struct{ Username, Password string }
	}
	if err := json.Unmarshal(secret.Data[corev1.DockerConfigJsonKey], &login); err != nil {
		return images.Registry{}, fmt.Errorf("read Secret kube-system/knit-registry: %w", err)
	}
	host := cluster.Data["registry"]
	ca := x509.NewCertPool()
	if !ca.AppendCertsFromPEM([]byte(cluster.Data["ca.crt"])) {
		return images.Registry{}, fmt.Errorf("ConfigMap kube-system/knit-cluster holds no CA certificate")
	}
	user := login.Auths[host]
	return images.Registry{Host: host, Username: user.Username, Password: user.Password, CA: ca}, nil
}
