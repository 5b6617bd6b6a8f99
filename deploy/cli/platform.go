package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// Where the platform's settings live.
const (
	systemNamespace = v1alpha1.NamespaceSystem
	buildsNamespace = v1alpha1.NamespaceBuilds
	platformName    = v1alpha1.PlatformConfigMap
	credentialsName = "registry-credentials"
	caName          = "registry-ca"

	// The embedded cluster publishes itself in kube-system under these names.
	embeddedNamespace   = "kube-system"
	embeddedName        = "knit-cluster"
	embeddedCredentials = "knit-registry"
)

// platform is what Knit's controllers must know of the cluster they run in.
type platform struct {
	Registry     string // host[:port]
	Prefix       string // repository prefix, may be empty
	Domain       string // of the functions' URLs
	URLPort      string // empty when 80
	CA           string // PEM bundle for the registry, may be empty
	DockerConfig []byte // config.json with the registry's login, may be empty
	DNS          string // address of the name server of pods, when it is none of the cluster's pods

	BuilderImage, FetchImage string // by digest

	Git gitSettings

	// Settings are all other keys that are installed or given.
	Settings map[string]string

	DefaultBroker bool // functions may bring the broker "default" of their namespace into being
}

// embeddedPlatform reads what the embedded cluster says of itself.
func embeddedPlatform(ctx context.Context, c client.Client) (platform, error) {
	var settings corev1.ConfigMap
	if err := c.Get(ctx, client.ObjectKey{Namespace: embeddedNamespace, Name: embeddedName}, &settings); err != nil {
		err = fmt.Errorf("read ConfigMap %s/%s, by which the embedded cluster makes itself known: %w", embeddedNamespace, embeddedName, err)
		return platform{}, cmdline.Advise(err, "for another cluster use --overlay cluster or istio; for the embedded one run `knit cluster up` first")
	}
	var login corev1.Secret
	if err := c.Get(ctx, client.ObjectKey{Namespace: embeddedNamespace, Name: embeddedCredentials}, &login); err != nil {
		return platform{}, fmt.Errorf("read Secret %s/%s, the registry's login: %w", embeddedNamespace, embeddedCredentials, err)
	}
	p := platform{
		Registry: settings.Data["registry"], Domain: settings.Data["domain"], URLPort: usualPort(settings.Data["url-port"]),
		CA: settings.Data["ca.crt"], DockerConfig: login.Data[corev1.DockerConfigJsonKey], DNS: settings.Data["bridge-ip"],
	}
	if p.Registry == "" {
		return p, cmdline.Advise(fmt.Errorf("ConfigMap %s/%s has no key registry", embeddedNamespace, embeddedName), "run `knit cluster up` of the same version as this knit")
	}
	return p, nil
}

// usualPort drops the port that a URL need not carry.
func usualPort(port string) string {
	if port == "80" {
		return ""
	}
	return port
}

// installedPlatform reads the settings of an installation, so that a second
// `knit install` keeps what it was not told to change.
func installedPlatform(ctx context.Context, c client.Client) (platform, error) {
	var settings corev1.ConfigMap
	err := c.Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: platformName}, &settings)
	if apierrors.IsNotFound(err) {
		return platform{}, nil
	}
	if err != nil {
		return platform{}, fmt.Errorf("read ConfigMap %s/%s: %w", systemNamespace, platformName, err)
	}
	// Not read strictly: what is missing can come from flags.
	d := settings.Data
	p := platform{
		Registry: d["registry"], Prefix: d["registry-prefix"], Domain: d["domain"], URLPort: d["url-port"],
		BuilderImage: d["builder-image"], FetchImage: d["fetch-image"],
		Git: readGitSettings(d), Settings: otherSettings(d),
	}
	var login corev1.Secret
	err = c.Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: credentialsName}, &login)
	if client.IgnoreNotFound(err) != nil {
		return platform{}, fmt.Errorf("read Secret %s/%s: %w", systemNamespace, credentialsName, err)
	}
	p.DockerConfig = login.Data[corev1.DockerConfigJsonKey]
	var authority corev1.ConfigMap
	err = c.Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: caName}, &authority)
	if client.IgnoreNotFound(err) != nil {
		return platform{}, fmt.Errorf("read ConfigMap %s/%s: %w", systemNamespace, caName, err)
	}
	p.CA = authority.Data["ca.crt"]
	return p, nil
}

// objects are the settings as controllers and build pods read them.
func (p platform) objects() []client.Object {
	settings := &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: platformName},
		Data: map[string]string{
			"registry": p.Registry, "registry-prefix": p.Prefix, "domain": p.Domain, "url-port": p.URLPort,
			"builder-image": p.BuilderImage, "fetch-image": p.FetchImage,
			"create-default-broker": strconv.FormatBool(p.DefaultBroker),
		},
	}
	p.Git.write(settings.Data)
	maps.Copy(settings.Data, p.Settings)
	objects := []client.Object{settings}
	for _, namespace := range []string{systemNamespace, buildsNamespace} {
		if len(p.DockerConfig) > 0 {
			objects = append(objects, &corev1.Secret{
				TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: credentialsName},
				Type:       corev1.SecretTypeDockerConfigJson,
				Data:       map[string][]byte{corev1.DockerConfigJsonKey: p.DockerConfig},
			})
		}
		if p.CA != "" {
			objects = append(objects, &corev1.ConfigMap{
				TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: caName},
				Data:       map[string]string{"ca.crt": p.CA},
			})
		}
	}
	return objects
}

// login returns the user and password for the registry from the docker config.
func (p platform) login() (user, password string, err error) {
	if len(p.DockerConfig) == 0 {
		return "", "", nil
	}
	var config struct {
		Auths map[string]struct{ Auth, Username, Password string }
	}
	if err := json.Unmarshal(p.DockerConfig, &config); err != nil {
		return "", "", fmt.Errorf("the registry's login is no docker config.json: %w", err)
	}
	entry, found := config.Auths[p.Registry]
	if !found {
		return "", "", fmt.Errorf("the docker config has no login for %s, only for %s", p.Registry, strings.Join(slices.Sorted(maps.Keys(config.Auths)), ", "))
	}
	if entry.Auth == "" {
		return entry.Username, entry.Password, nil
	}
	decoded, err := base64.StdEncoding.DecodeString(entry.Auth)
	user, password, found = strings.Cut(string(decoded), ":")
	if err != nil || !found {
		return "", "", fmt.Errorf("the docker config's login for %s is not base64 of user:password", p.Registry)
	}
	return user, password, nil
}
