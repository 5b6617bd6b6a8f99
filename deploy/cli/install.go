package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/deploy/manifests"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// Names that the manifests use.
const (
	deploymentName = "knit-controlplane"
	serviceName    = "knit-service"
	apiServiceName = "v1alpha1.service.knit.dev"

	controlplaneImage = "knit/controlplane"
	fetchImage        = "knit/fetch"
	builderImage      = "knit/builder"
	natsImage         = "knit/nats-server"
)

// imageNames are the images of an installation.
var imageNames = []string{controlplaneImage, fetchImage, builderImage, natsImage}

// installer is one run of `knit install`.
type installer struct {
	env      *cmdline.Env
	cluster  *cmdline.Cluster
	progress *cmdline.Progress

	overlay  string
	images   map[string]string // name in the manifests → reference
	from     string            // repository to build images from
	cacheDir string
	wait     bool
	timeout  time.Duration
	registry registryFlags
	git      gitFlags
	broker   bool
	given    []string // other settings, as key=value
}

func installCommand(env *cmdline.Env) *cobra.Command {
	i := &installer{env: env}
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Install Knit's control plane on a cluster with Knative, or update it",
		Long: "Install Knit's control plane on a cluster with Knative, or update it.\n\n" +
			"Images come from --image, or are built from Knit's repository with --from and pushed to the\n" +
			"cluster's registry. A second run keeps the images and settings that it is not told to change.",
		Example: "  knit install --overlay embedded --from .\n" +
			"  knit install --overlay istio --registry registry.example.com/knit --registry-login ~/.docker/config.json \\\n" +
			"      --domain functions.example.com --from .",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), i.timeout)
			defer cancel()
			return i.run(ctx)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&i.overlay, "overlay", "embedded", "where it runs: "+strings.Join(manifests.Overlays, ", "))
	flags.StringToStringVar(&i.images, "image", nil, "image to use, as name=reference; the names are "+strings.Join(imageNames, ", "))
	flags.StringVar(&i.from, "from", "", "folder of Knit's repository to build the images from")
	flags.StringVar(&i.cacheDir, "build-cache", "/var/cache/knit", "folder in which --from keeps what it built")
	flags.BoolVar(&i.wait, "wait", true, "wait until the control plane is available")
	flags.DurationVar(&i.timeout, "timeout", 15*time.Minute, "give up after this long")
	flags.BoolVar(&i.broker, "default-broker", true, "make the broker \"default\" of a namespace when a function needs it")
	i.registry.add(flags)
	i.git.add(flags)
	flags.StringArrayVar(&i.given, "set", nil, "a setting of the platform, as key=value; without a value it is removed; builder/README.md has the table")
	_ = cmd.RegisterFlagCompletionFunc("overlay", cobra.FixedCompletions(manifests.Overlays, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (i *installer) run(ctx context.Context) error {
	if err := i.check(); err != nil {
		return err
	}
	cluster, err := i.env.Connect(newScheme())
	if err != nil {
		return err
	}
	i.cluster, i.progress = cluster, cmdline.NewProgress(i.env)
	defer i.progress.Clear()

	settings, err := i.platform(ctx)
	if err != nil {
		return err
	}
	settings.DefaultBroker = i.broker
	if settings.Git, err = i.git.over(settings.Git); err != nil {
		return err
	}
	if settings.Settings, err = override(settings.Settings, pairs(i.given)); err != nil {
		return err
	}
	i.progress.Done("Cluster", "%s, registry %s", cluster.Config.Host, settings.Registry)
	if i.from != "" {
		built, err := buildImages(ctx, i.from, i.cacheDir, settings, i.progress)
		if err != nil {
			return err
		}
		maps.Copy(built, i.images)
		i.images = built
	}
	if err := i.settleImages(ctx, &settings); err != nil {
		return err
	}
	objects, err := i.objects(ctx, settings)
	if err != nil {
		return err
	}
	if err := i.applyAll(ctx, objects); err != nil {
		return err
	}
	if i.wait {
		if err := i.waitReady(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintf(i.env.Out, "Knit is installed (%.1fs). Deploy a function: knit deploy samples/hello\n", i.progress.Elapsed().Seconds())
	return nil
}

// check refuses flags that cannot work before anything is changed.
func (i *installer) check() error {
	if !slices.Contains(manifests.Overlays, i.overlay) {
		return cmdline.Usagef("--overlay %q is none of %s", i.overlay, strings.Join(manifests.Overlays, ", "))
	}
	for name := range i.images {
		if !slices.Contains(imageNames, name) {
			return cmdline.Usagef("--image %q is none of %s", name, strings.Join(imageNames, ", "))
		}
	}
	if i.overlay == "embedded" && i.registry.set() {
		return cmdline.Advise(cmdline.Usagef("the embedded overlay uses the embedded cluster's own registry"), "leave out --registry… and --domain, or use --overlay cluster")
	}
	return nil
}

// platform collects the settings of the cluster: the embedded one publishes
// them, elsewhere they come from flags and an earlier installation.
func (i *installer) platform(ctx context.Context) (platform, error) {
	installed, err := installedPlatform(ctx, i.cluster)
	if err != nil {
		return platform{}, err
	}
	if i.overlay != "embedded" {
		return i.registry.over(installed)
	}
	embedded, err := embeddedPlatform(ctx, i.cluster)
	embedded.BuilderImage, embedded.FetchImage = installed.BuilderImage, installed.FetchImage
	embedded.Git, embedded.Settings = installed.Git, installed.Settings
	return embedded, err
}

// settleImages decides every image: from flags and builds, or else what is
// installed already.
func (i *installer) settleImages(ctx context.Context, settings *platform) error {
	if i.images == nil {
		i.images = map[string]string{}
	}
	var controlplane appsv1.Deployment
	if err := i.keepImage(ctx, controlplaneImage, deploymentName, &controlplane, &controlplane.Spec.Template.Spec); err != nil {
		return err
	}
	var letters appsv1.StatefulSet
	if err := i.keepImage(ctx, natsImage, lettersName, &letters, &letters.Spec.Template.Spec); err != nil {
		return err
	}
	if ref := i.images[fetchImage]; ref != "" {
		settings.FetchImage = ref
	}
	if ref := i.images[builderImage]; ref != "" {
		settings.BuilderImage = ref
	}
	for name, ref := range map[string]string{
		controlplaneImage: i.images[controlplaneImage], natsImage: i.images[natsImage],
		fetchImage: settings.FetchImage, builderImage: settings.BuilderImage,
	} {
		if ref == "" {
			return cmdline.Advise(cmdline.Usagef("no image %s: none is installed yet and none was named", name),
				"build Knit's images with --from <folder of Knit's repository>, or name each with --image name=reference")
		}
	}
	return nil
}

// keepImage takes the image of a workload that runs already, unless another was
// named. pod is the part of the workload that is read into it.
func (i *installer) keepImage(ctx context.Context, image, name string, workload client.Object, pod *corev1.PodSpec) error {
	if i.images[image] != "" {
		return nil
	}
	err := i.cluster.Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: name}, workload)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read %T %s/%s: %w", workload, systemNamespace, name, err)
	}
	if err == nil && len(pod.Containers) > 0 {
		i.images[image] = pod.Containers[0].Image
	}
	return nil
}

// objects are the rendered manifests with the settings of this cluster.
func (i *installer) objects(ctx context.Context, settings platform) ([]*unstructured.Unstructured, error) {
	objects, err := render(i.overlay, map[string]string{controlplaneImage: i.images[controlplaneImage], natsImage: i.images[natsImage]})
	if err != nil {
		return nil, err
	}
	policy, err := buildPolicy(ctx, i.cluster, settings)
	if err != nil {
		return nil, err
	}
	login, err := letterLogin(ctx, i.cluster)
	if err != nil {
		return nil, err
	}
	objects = append(objects, login...)
	own := append(settings.objects(), policy, settings.Git.policy())
	hash := sha256.New()
	for _, object := range own {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", describe(object), err)
		}
		u := &unstructured.Unstructured{Object: content}
		unstructured.RemoveNestedField(u.Object, "status")
		if err := json.NewEncoder(hash).Encode(u.Object); err != nil {
			return nil, err
		}
		objects = append(objects, u)
	}
	return objects, stampSettings(objects, hex.EncodeToString(hash.Sum(nil))[:16])
}

// stampSettings marks the control plane's pods with the settings, which they
// read once at their start: other settings are other pods.
func stampSettings(objects []*unstructured.Unstructured, hash string) error {
	for _, object := range objects {
		if object.GetKind() != "Deployment" {
			continue
		}
		if err := unstructured.SetNestedField(object.Object, hash, "spec", "template", "metadata", "annotations", "knit.dev/settings"); err != nil {
			return fmt.Errorf("mark %s: %w", describe(object), err)
		}
	}
	return nil
}

func (i *installer) applyAll(ctx context.Context, objects []*unstructured.Unstructured) error {
	for n, part := range split(objects) {
		for _, object := range part {
			i.progress.Doing("%s: %s", stages[n].name, describe(object))
			if err := apply(ctx, i.cluster, object); err != nil {
				return err
			}
		}
		for _, object := range part {
			if object.GetKind() != "CustomResourceDefinition" {
				continue
			}
			if err := established(ctx, i.cluster, object.GetName()); err != nil {
				return err
			}
		}
		i.progress.Done(stages[n].name, "%d applied", len(part))
	}
	return nil
}

func (i *installer) waitReady(ctx context.Context) error {
	i.progress.Doing("waiting for the control plane")
	if err := available(ctx, i.cluster, systemNamespace, deploymentName); err != nil {
		return err
	}
	i.progress.Done("Available", "Deployment %s/%s", systemNamespace, deploymentName)
	i.progress.Doing("waiting for the store of dead letters")
	if err := kept(ctx, i.cluster, systemNamespace, lettersName); err != nil {
		return err
	}
	i.progress.Done("Keeping", "StatefulSet %s/%s", systemNamespace, lettersName)
	i.progress.Doing("waiting for the function service")
	if err := served(ctx, i.cluster, apiServiceName); err != nil {
		return err
	}
	i.progress.Done("Serving", "APIService %s", apiServiceName)
	return nil
}
