package knative

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	eventingconfig "knative.dev/eventing/pkg/apis/config"
	"knative.dev/eventing/pkg/apis/feature"
	channelconfig "knative.dev/eventing/pkg/apis/messaging/config"
	netconfig "knative.dev/networking/pkg/config"
	"knative.dev/pkg/configmap"
	"knative.dev/pkg/leaderelection"
	"knative.dev/pkg/observability"
	servingconfig "knative.dev/serving/pkg/apis/config"
	autoscalerconfig "knative.dev/serving/pkg/autoscaler/config"
	"knative.dev/serving/pkg/deployment"
	domainconfig "knative.dev/serving/pkg/reconciler/route/config"
)

func settings(t *testing.T) map[string]corev1.ConfigMap {
	t.Helper()
	out := map[string]corev1.ConfigMap{}
	for _, o := range testObjects(t) {
		if o.GetKind() == "ConfigMap" {
			out[o.GetNamespace()+"/"+o.GetName()] = convert[corev1.ConfigMap](t, o)
		}
	}
	return out
}

// The settings are read by Knative's own parsers: a misspelt value fails here
// and not in a pod, a misspelt key leaves a default where another value is wanted.
func TestKnativeReadsTheServingSettings(t *testing.T) {
	all := settings(t)
	network, err := netconfig.NewConfigFromMap(all["knative-serving/config-network"].Data)
	if err != nil {
		t.Fatal(err)
	}
	scaler, err := autoscalerconfig.NewConfigFromMap(all["knative-serving/config-autoscaler"].Data)
	if err != nil {
		t.Fatal(err)
	}
	cm := all["knative-serving/config-domain"]
	domain, err := domainconfig.NewDomainFromConfigMap(&cm)
	if err != nil {
		t.Fatal(err)
	}
	deploy, err := deployment.NewConfigFromMap(all["knative-serving/config-deployment"].Data)
	if err != nil {
		t.Fatal(err)
	}
	features, err := servingconfig.NewFeaturesConfigFromMap(all["knative-serving/config-features"].Data)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{
		"class":    network.DefaultIngressClass,
		"claims":   network.AutocreateClusterDomainClaims,
		"mesh":     network.MeshCompatibilityMode,
		"domain":   domain.LookupDomainForLabels(nil),
		"window":   scaler.StableWindow,
		"grace":    scaler.ScaleToZeroGracePeriod,
		"kept":     scaler.ScaleToZeroPodRetentionPeriod,
		"burst":    scaler.TargetBurstCapacity,
		"zero":     scaler.AllowZeroInitialScale,
		"skipped":  deploy.RegistriesSkippingTagResolving.Has("198.18.0.1:5000"),
		"deadline": deploy.ProgressDeadline,
		"secure":   features.SecurePodDefaults,
		"volumes":  features.PodSpecPersistentVolumeWrite,
		"init":     features.PodSpecInitContainers,
		"hostpath": features.PodSpecVolumesHostPath,
		"hostnet":  features.PodSpecHostNetwork,
		"addcaps":  features.ContainerSpecAddCapabilities,
	}
	want := map[string]any{
		"class":    "knit.ingress.networking.knative.dev",
		"claims":   true,
		"mesh":     netconfig.MeshCompatibilityModeDisabled,
		"domain":   "knit.localhost",
		"window":   30 * time.Second,
		"grace":    10 * time.Second,
		"kept":     time.Duration(0),
		"burst":    70.0,
		"zero":     true,
		"skipped":  true,
		"deadline": 180 * time.Second,
		"secure":   servingconfig.AllowRootBounded,
		"volumes":  servingconfig.Enabled,
		"init":     servingconfig.Enabled,
		"hostpath": servingconfig.Disabled,
		"hostnet":  servingconfig.Disabled,
		"addcaps":  servingconfig.Disabled,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestKnativeReadsTheEventingSettings(t *testing.T) {
	all := settings(t)
	brokers, err := eventingconfig.NewDefaultsConfigFromMap(all["knative-eventing/config-br-defaults"].Data)
	if err != nil {
		t.Fatal(err)
	}
	channels, err := channelconfig.NewChannelDefaultsConfigFromMap(all["knative-eventing/default-ch-webhook"].Data)
	if err != nil {
		t.Fatal(err)
	}
	features, err := feature.NewFlagsConfigFromMap(all["knative-eventing/config-features"].Data)
	if err != nil {
		t.Fatal(err)
	}
	class, err := brokers.GetBrokerClass("any")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{
		"broker":     class,
		"channel":    channels.ClusterDefault.Kind,
		"namespaces": len(channels.NamespaceDefaults),
		"filters":    features.IsEnabled(feature.NewAPIServerFilters),
	}
	want := map[string]any{"broker": "MTChannelBasedBroker", "channel": "InMemoryChannel", "namespaces": 0, "filters": true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSharedSettingsAreValid(t *testing.T) {
	all := settings(t)
	for _, ns := range []string{ServingNamespace, EventingNamespace} {
		cm := all[ns+"/config-leader-election"]
		if _, err := leaderelection.NewConfigFromConfigMap(&cm); err != nil {
			t.Errorf("%s: %v", ns, err)
		}
		o, err := observability.NewFromMap(all[ns+"/config-observability"].Data)
		if err != nil {
			t.Errorf("%s: %v", ns, err)
			continue
		}
		if o.Tracing.Protocol != "none" || o.Metrics.Protocol != "none" {
			t.Errorf("%s: tracing %s, metrics %s", ns, o.Tracing.Protocol, o.Metrics.Protocol)
		}
	}
	// Knative refuses a ConfigMap whose example was edited.
	for name, cm := range all {
		example, ok := cm.Data[configmap.ExampleKey]
		if sum := cm.Annotations[configmap.ExampleChecksumAnnotation]; ok && sum != "" && sum != configmap.Checksum(example) {
			t.Errorf("%s: example was changed", name)
		}
	}
}
