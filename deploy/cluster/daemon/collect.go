package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// collectEvery is how often the registry's garbage is collected.
const collectEvery = 6 * time.Hour

func (d *daemon) collectRegularly(ctx context.Context) {
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		freed, err := d.collect(ctx)
		d.logs.slog("registry").Info("collected garbage", "freedBytes", freed, "error", err)
	}
}

// collect removes what no tag and no workload needs from the registry.
func (d *daemon) collect(ctx context.Context) (int64, error) {
	r := d.registry.Load()
	if r == nil {
		return 0, errors.New("the registry is not ready")
	}
	return r.Collect(ctx)
}

// platformSettings is the ConfigMap of Knit's control plane that names images
// which run only during builds.
const platformSettings = "knit-platform"

// imagesInUse lists the images that API objects name, whether they run or not:
// a revision at zero still has its Deployment, a schedule its CronJob.
func (d *daemon) imagesInUse(ctx context.Context) ([]string, error) {
	config, err := d.restConfig()
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	var refs []string
	add := func(spec corev1.PodSpec) {
		for _, c := range append(spec.InitContainers, spec.Containers...) {
			refs = append(refs, c.Image)
			for _, e := range c.Env { // Knative hands images on as settings
				refs = append(refs, e.Value)
			}
		}
	}
	if err := eachPodSpec(ctx, client, add); err != nil {
		return nil, err
	}
	settings, err := client.CoreV1().ConfigMaps("").List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + platformSettings})
	if err != nil {
		return nil, fmt.Errorf("list settings of the platform: %w", err)
	}
	deployments, err := client.CoreV1().ConfigMaps("knative-serving").List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=config-deployment"})
	if err != nil {
		return nil, fmt.Errorf("list settings of Knative: %w", err)
	}
	for _, m := range append(settings.Items, deployments.Items...) {
		for _, v := range m.Data {
			refs = append(refs, v)
		}
	}
	return d.ofRegistry(refs), nil
}

func eachPodSpec(ctx context.Context, client kubernetes.Interface, add func(corev1.PodSpec)) error {
	all := metav1.ListOptions{}
	pods, err := client.CoreV1().Pods("").List(ctx, all)
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	for _, p := range pods.Items {
		add(p.Spec)
	}
	deployments, err := client.AppsV1().Deployments("").List(ctx, all)
	if err != nil {
		return fmt.Errorf("list deployments: %w", err)
	}
	for _, w := range deployments.Items {
		add(w.Spec.Template.Spec)
	}
	sets, err := client.AppsV1().StatefulSets("").List(ctx, all)
	if err != nil {
		return fmt.Errorf("list stateful sets: %w", err)
	}
	for _, w := range sets.Items {
		add(w.Spec.Template.Spec)
	}
	daemons, err := client.AppsV1().DaemonSets("").List(ctx, all)
	if err != nil {
		return fmt.Errorf("list daemon sets: %w", err)
	}
	for _, w := range daemons.Items {
		add(w.Spec.Template.Spec)
	}
	jobs, err := client.BatchV1().Jobs("").List(ctx, all)
	if err != nil {
		return fmt.Errorf("list jobs: %w", err)
	}
	for _, w := range jobs.Items {
		add(w.Spec.Template.Spec)
	}
	crons, err := client.BatchV1().CronJobs("").List(ctx, all)
	if err != nil {
		return fmt.Errorf("list cron jobs: %w", err)
	}
	for _, w := range crons.Items {
		add(w.Spec.JobTemplate.Spec.Template.Spec)
	}
	return nil
}

// ofRegistry keeps what is an image of this cluster's registry by digest.
func (d *daemon) ofRegistry(refs []string) []string {
	var kept []string
	for _, r := range refs {
		if isDigestOf(d.Instance.Registry(), r) {
			kept = append(kept, r)
		}
	}
	return kept
}

func isDigestOf(registry, ref string) bool {
	_, ok := strings.CutPrefix(ref, registry+"/")
	return ok && strings.Contains(ref, "@sha256:") && !strings.ContainsAny(ref, " \n")
}
