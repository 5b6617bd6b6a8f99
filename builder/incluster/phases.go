package incluster

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// platformAPI is the version of the CNB platform specification whose flags
// are used here.
const platformAPI = "0.14"

// The files that the phases hand to each other.
const (
	fileAnalyzed = pathAnalyzed + "/analyzed.toml"
	fileGroup    = pathLayers + "/group.toml"
	filePlan     = pathLayers + "/plan.toml"
	// fileReport is the container's termination message: the kubelet carries
	// the image's digest into the pod's status, where no log is needed.
	fileReport = corev1.TerminationMessagePathDefault
)

// ProcessType is what the image starts.
const ProcessType = "web"

// Phases are the phases of a pod in their order.
var Phases = []v1alpha1.PhaseName{
	v1alpha1.PhaseFetch, v1alpha1.PhaseAnalyze, v1alpha1.PhaseDetect,
	v1alpha1.PhaseRestore, v1alpha1.PhaseBuild, v1alpha1.PhaseExport,
}

// makePhases returns the containers in the order of Phases.
func makePhases(b *v1alpha1.Build, p Platform) []corev1.Container {
	image := p.Repository(b) + ":" + tag(b)
	workspace, layers := writable(volumeWorkspace, pathWorkspace), writable(volumeLayers, pathLayers)
	decided := readOnly(volumeAnalyzed, pathAnalyzed)
	decides := writable(volumeAnalyzed, pathAnalyzed)

	fetch := trusted(v1alpha1.PhaseFetch, p, workspace)
	fetch.Image = p.FetchImage
	fetch.Args = []string{"-source", p.source(b), "-dir", pathWorkspace, "-message", corev1.TerminationMessagePathDefault}

	analyze := trusted(v1alpha1.PhaseAnalyze, p, layers, decides)
	analyze.Command = lifecycle("analyzer")
	analyze.Args = []string{"-layers", pathLayers, "-analyzed", fileAnalyzed, "-cache-image", p.cache(b),
		"-previous-image", p.Repository(b) + ":" + latestTag}
	if p.RunImage != "" {
		analyze.Args = append(analyze.Args, "-run-image", p.RunImage)
	}
	analyze.Args = append(analyze.Args, "-tag", p.Repository(b)+":"+latestTag, image)

	detect := untrusted(v1alpha1.PhaseDetect, p, readOnly(volumeWorkspace, pathWorkspace), layers, decided)
	detect.Command = lifecycle("detector")
	detect.Args = []string{"-app", pathWorkspace, "-layers", pathLayers, "-platform", pathPlatform, "-analyzed", fileAnalyzed,
		"-group", fileGroup, "-plan", filePlan}

	restore := trusted(v1alpha1.PhaseRestore, p, layers, decides)
	restore.Command = lifecycle("restorer")
	restore.Args = []string{"-layers", pathLayers, "-analyzed", fileAnalyzed, "-group", fileGroup, "-cache-image", p.cache(b)}

	build := untrusted(v1alpha1.PhaseBuild, p, workspace, layers, decided)
	build.Command = lifecycle("builder")
	build.Args = []string{"-app", pathWorkspace, "-layers", pathLayers, "-platform", pathPlatform, "-analyzed", fileAnalyzed,
		"-group", fileGroup, "-plan", filePlan}

	export := trusted(v1alpha1.PhaseExport, p, readOnly(volumeWorkspace, pathWorkspace), layers, decided)
	export.Command = lifecycle("exporter")
	export.Args = []string{"-app", pathWorkspace, "-layers", pathLayers, "-analyzed", fileAnalyzed, "-group", fileGroup,
		"-cache-image", p.cache(b), "-process-type", ProcessType, "-report", fileReport,
		image, p.Repository(b) + ":" + latestTag}

	return []corev1.Container{fetch, analyze, detect, restore, build, export}
}

// latestTag follows the function's newest image; the next build takes
// unchanged layers from it. Knit deploys by digest, never by it.
const latestTag = "latest"

func lifecycle(phase string) []string { return []string{"/cnb/lifecycle/" + phase} }

// trusted is a phase of our own code that holds the registry login.
func trusted(phase v1alpha1.PhaseName, p Platform, mounts ...corev1.VolumeMount) corev1.Container {
	c := makeContainer(phase, p, append(mounts,
		writable(volumeTmp, pathTmp), readOnly(volumeCredentials, pathCredentials), readOnly(volumeCA, pathCA)))
	c.Env = append(c.Env,
		corev1.EnvVar{Name: "DOCKER_CONFIG", Value: pathCredentials},
		// Go reads this folder besides the bundle of the image; SSL_CERT_FILE
		// would replace that bundle, and public registries would be lost.
		corev1.EnvVar{Name: "SSL_CERT_DIR", Value: pathCA},
	)
	return c
}

// untrusted is a phase that runs, or may run, what a tenant wrote.
func untrusted(phase v1alpha1.PhaseName, p Platform, mounts ...corev1.VolumeMount) corev1.Container {
	c := makeContainer(phase, p, append(mounts,
		writable(volumeBuildTmp, pathTmp), writable(volumeHome, pathHome), readOnly(volumePlatformEnv, pathPlatformEnv)))
	c.Env = append(c.Env, corev1.EnvVar{Name: "HOME", Value: pathHome})
	return c
}

func makeContainer(phase v1alpha1.PhaseName, p Platform, mounts []corev1.VolumeMount) corev1.Container {
	return corev1.Container{
		Name:            string(phase),
		Image:           p.BuilderImage,
		ImagePullPolicy: corev1.PullIfNotPresent,
		Env: []corev1.EnvVar{
			{Name: "CNB_PLATFORM_API", Value: platformAPI},
			{Name: "CNB_NO_COLOR", Value: "true"},
			{Name: "CNB_USER_ID", Value: "1000"},
			{Name: "CNB_GROUP_ID", Value: "1000"},
		},
		VolumeMounts:             mounts,
		Resources:                makeResources(p.Resources),
		TerminationMessagePath:   corev1.TerminationMessagePathDefault,
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		SecurityContext: &corev1.SecurityContext{
			RunAsUser:                ptr.To(int64(userID)),
			RunAsGroup:               ptr.To(int64(userID)),
			RunAsNonRoot:             ptr.To(true),
			Privileged:               ptr.To(false),
			AllowPrivilegeEscalation: ptr.To(false),
			ReadOnlyRootFilesystem:   ptr.To(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
	}
}

// makeResources sets no CPU limit: a throttled compiler holds its memory
// longer and helps nobody.
func makeResources(r Resources) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU:              r.CPURequest,
			corev1.ResourceMemory:           r.MemoryRequest,
			corev1.ResourceEphemeralStorage: *resource.NewQuantity(r.Disk.Value()/8, resource.BinarySI),
		},
		Limits: corev1.ResourceList{
			corev1.ResourceMemory:           r.MemoryLimit,
			corev1.ResourceEphemeralStorage: r.Disk,
		},
	}
}
