package kube

import (
	"context"
	"fmt"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	kubeletconfig "k8s.io/kubelet/config/v1beta1"
	"k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	"k8s.io/kubernetes/pkg/kubelet/kubeletconfig/configfiles"
	utilfs "k8s.io/kubernetes/pkg/util/filesystem"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/knit-dev/knit/deploy/cluster/instance"
)

// RunKubelet runs pods on this machine until ctx ends.
func RunKubelet(ctx context.Context, c Config) error {
	i := c.Instance
	path := i.Path("kubelet.yaml")
	data, err := yaml.Marshal(c.kubeletConfiguration())
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("write kubelet configuration: %w", err)
	}
	loader, err := configfiles.NewFsLoader(&utilfs.DefaultFs{}, path)
	if err != nil {
		return err
	}
	config, err := loader.Load(ctx)
	if err != nil {
		return fmt.Errorf("read kubelet configuration: %w", err)
	}
	flags := options.NewKubeletFlags()
	flags.KubeConfig = c.Certs.Kubeconfig("kubelet")
	flags.HostnameOverride = instance.NodeName
	flags.NodeIP = i.BridgeIP().String()
	flags.RootDirectory = i.Path("kubelet")
	flags.CertDirectory = i.Path("kubelet", "pki")
	server := &options.KubeletServer{KubeletFlags: *flags, KubeletConfiguration: *config}
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(config.FeatureGates); err != nil {
		return fmt.Errorf("configure kubelet: %w", err)
	}
	deps, err := app.UnsecuredDependencies(ctx, server, utilfeature.DefaultFeatureGate)
	if err != nil {
		return fmt.Errorf("configure kubelet: %w", err)
	}
	deps.Options = append(deps.Options, relistOnChange(ctx, c.WatchContainers))
	return app.Run(ctx, server, deps, utilfeature.DefaultFeatureGate)
}

func (c Config) kubeletConfiguration() *kubeletconfig.KubeletConfiguration {
	i := c.Instance
	seconds := func(n int) metav1.Duration { return metav1.Duration{Duration: time.Duration(n) * time.Second} }
	return &kubeletconfig.KubeletConfiguration{
		TypeMeta:           metav1.TypeMeta{APIVersion: kubeletconfig.SchemeGroupVersion.String(), Kind: "KubeletConfiguration"},
		Address:            i.BridgeIP().String(),
		Port:               instance.KubeletPort,
		HealthzBindAddress: "127.0.0.1",
		TLSCertFile:        c.Certs.Kubelet.Cert,
		TLSPrivateKeyFile:  c.Certs.Kubelet.Key,
		Authentication: kubeletconfig.KubeletAuthentication{
			Anonymous: kubeletconfig.KubeletAnonymousAuthentication{Enabled: ptr.To(false)},
			Webhook:   kubeletconfig.KubeletWebhookAuthentication{Enabled: ptr.To(true)},
			X509:      kubeletconfig.KubeletX509Authentication{ClientCAFile: c.Certs.CA.CertFile()},
		},
		Authorization:            kubeletconfig.KubeletAuthorization{Mode: kubeletconfig.KubeletAuthorizationModeWebhook},
		ContainerRuntimeEndpoint: "unix://" + i.ContainerdSocket(),
		ClusterDomain:            instance.ClusterDomain,
		ClusterDNS:               []string{i.DNSServiceIP().String()},
		ResolverConfig:           ptr.To(c.ResolvConf),
		CgroupDriver:             "cgroupfs",
		CgroupRoot:               c.CgroupRoot,
		CgroupsPerQOS:            ptr.To(true),
		FailCgroupV1:             ptr.To(false),
		EnforceNodeAllocatable:   []string{"none"},
		// The node's memory and disk belong to the machine's user too: evict pods late.
		EvictionHard:                map[string]string{"memory.available": "200Mi", "nodefs.available": "3%", "imagefs.available": "3%", "nodefs.inodesFree": "2%"},
		ImageGCHighThresholdPercent: ptr.To[int32](95),
		ImageGCLowThresholdPercent:  ptr.To[int32](90),
		FailSwapOn:                  ptr.To(false),
		PodLogsDir:                  i.Path("pod-logs"),
		VolumePluginDir:             i.Path("kubelet", "volume-plugins"),
		ContainerLogMaxSize:         "10Mi",
		ContainerLogMaxFiles:        ptr.To[int32](3),
		ContainerLogMonitorInterval: ptr.To(seconds(3)),
		MakeIPTablesUtilChains:      ptr.To(false),
		HairpinMode:                 "none", // the CNI bridge plugin does it
		MaxPods:                     250,
		PodPidsLimit:                ptr.To[int64](4096),
		SerializeImagePulls:         ptr.To(false),
		RegistryPullQPS:             ptr.To[int32](0),
		EventRecordQPS:              ptr.To[int32](50),
		KubeAPIQPS:                  ptr.To[int32](200),
		KubeAPIBurst:                400,
		NodeStatusUpdateFrequency:   seconds(10),
		SyncFrequency:               seconds(30),
		// How long a pod can write more than its volumes may hold, unseen: a
		// disk takes gigabytes in the minute that is the default.
		VolumeStatsAggPeriod:    seconds(10),
		ShutdownGracePeriod:     seconds(0),
		EnableSystemLogHandler:  ptr.To(false),
		EnableProfilingHandler:  ptr.To(false),
		EnableDebugFlagsHandler: ptr.To(false),
		// Every sandbox, probe and volume of a laptop's cluster is local.
		LocalStorageCapacityIsolation: ptr.To(true),
		SeccompDefault:                ptr.To(true),
	}
}
