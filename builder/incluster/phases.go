package incluster

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/knit-dev/knit/builder/phase"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// platformAPI is the version of the CNB platform specification whose flags
// are used here: the newest that pack's library speaks. It stands in every
// image's environment, and the same image shall come from both.
const platformAPI = "0.13"

// The files that the phases hand to each other.
const (
	fileAnalyzed = pathAnalyzed + "/analyzed.toml"
	fileProposed = pathLayers + "/analyzed.toml"   // what detect makes of a copy
	fileRestored = pathAnalyzed + "/restored.toml" // the buildpacks whose layers are restored
	fileGroup    = pathLayers + "/group.toml"
	filePlan     = pathLayers + "/plan.toml"
	// fileReport is the container's termination message: the kubelet carries
	// the image's digest into the pod's status, where no log is needed.
	fileReport = corev1.TerminationMessagePathDefault
	// fileTool is a copy of the program of package phase for the container that
	// builds, whose image may be another builder's. What holds the registry
	// login runs the one in the platform's image.
	fileTool = pathTool + "/phase"
)

// ProcessType is what the image starts.
const ProcessType = "web"

// Phases are the phases of a pod in their order.
var Phases = []v1alpha1.PhaseName{
	v1alpha1.PhaseFetch, v1alpha1.PhaseAnalyze, v1alpha1.PhaseRestore,
	v1alpha1.PhaseDetect, v1alpha1.PhaseBuild, v1alpha1.PhaseExport,
}

// AllPhases are the phases of every kind of pod.
var AllPhases = append(slices.Clone(Phases), v1alpha1.PhaseRebase)

// PhasesOf are the phases of a Build's pod in their order.
func PhasesOf(b *v1alpha1.Build) []v1alpha1.PhaseName {
	if b.Spec.Rebase != nil {
		return []v1alpha1.PhaseName{v1alpha1.PhaseRebase}
	}
	return Phases
}

// makePhases returns the containers in their order. The kubelet needs about half
// a second from the end of one to the start of the next, so phases of the same
// trust share one: see v1alpha1.PhaseName.Container.
func makePhases(b *v1alpha1.Build, p Platform) []corev1.Container {
	if b.Spec.Rebase != nil {
		return []corev1.Container{makeRebase(b, p)}
	}
	return []corev1.Container{makeFetch(b, p), makeAnalyze(b, p), makeBuild(p), makeExport(b, p)}
}

// fetchWorkspace and fetchLayers are what fetch makes in the volumes.
const (
	fetchWorkspace = pathVolumes + volumeWorkspace + "/" + subFolder
	fetchLayers    = pathVolumes + volumeLayers + "/" + subFolder
)

func makeFetch(b *v1alpha1.Build, p Platform) corev1.Container {
	fetch := trusted(v1alpha1.PhaseFetch, p, writable(volumeWorkspace, pathVolumes+volumeWorkspace),
		writable(volumeLayers, pathVolumes+volumeLayers))
	fetch.Image = p.FetchImage
	fetch.Args = append([]string{"-source=" + p.source(b), "-dir=" + fetchWorkspace}, sharedArguments()...)
	return fetch
}

// sharedArguments are those of fetch from wherever the source comes.
func sharedArguments() []string {
	return []string{"-make=" + fetchWorkspace + "," + fetchLayers, "-message=" + corev1.TerminationMessagePathDefault}
}

// makeAnalyze decides what export will build on, and restores the layers of the
// image before and of the cache.
func makeAnalyze(b *v1alpha1.Build, p Platform) corev1.Container {
	analyze := trusted(v1alpha1.PhaseAnalyze, p, folder(writable(volumeLayers, pathLayers)),
		writable(volumeAnalyzed, pathAnalyzed), writable(volumeTool, pathTool))
	analyze.Command = []string{phase.Path, phase.Analyze, "-analyzed", fileAnalyzed, "-proposed", fileProposed, "-restored", fileRestored,
		"-install", fileTool, "-message", corev1.TerminationMessagePathDefault, "--"}
	analyze.Args = append(lifecycle("analyzer"), "-layers", pathLayers, "-analyzed", fileAnalyzed, "-cache-image", p.Cache(b),
		"-previous-image", p.Repository(b)+":"+latestTag)
	if image := p.runImage(); image != "" {
		analyze.Args = append(analyze.Args, "-run-image", image)
	}
	analyze.Args = append(analyze.Args, "-tag", p.Repository(b)+":"+latestTag, p.Repository(b)+":"+tag(b), phase.Then)
	analyze.Args = append(append(analyze.Args, lifecycle("restorer")...),
		"-layers", pathLayers, "-analyzed", fileAnalyzed, "-group", fileRestored, "-cache-image", p.Cache(b))
	return analyze
}

// makeBuild runs what a tenant wrote.
func makeBuild(p Platform) corev1.Container {
	build := untrusted(v1alpha1.PhaseBuild, p, folder(writable(volumeWorkspace, pathWorkspace)), folder(writable(volumeLayers, pathLayers)),
		readOnly(volumeAnalyzed, pathAnalyzed), readOnly(volumeTool, pathTool))
	build.Command = []string{fileTool, phase.Build, "-analyzed", fileAnalyzed, "-proposed", fileProposed,
		"-message", corev1.TerminationMessagePathDefault, "--"}
	args := []string{"-app", pathWorkspace, "-layers", pathLayers, "-platform", pathPlatform, "-analyzed", fileProposed, "-group", fileGroup, "-plan", filePlan}
	build.Args = slices.Concat(lifecycle("detector"), args, []string{phase.Then}, lifecycle("builder"), args)
	return build
}

func makeExport(b *v1alpha1.Build, p Platform) corev1.Container {
	export := trusted(v1alpha1.PhaseExport, p, folder(readOnly(volumeWorkspace, pathWorkspace)), folder(writable(volumeLayers, pathLayers)),
		writable(volumeAnalyzed, pathAnalyzed))
	export.Command = []string{phase.Path, phase.Export, "-analyzed", fileAnalyzed, "-proposed", fileProposed,
		"-app", pathWorkspace, "-max-bytes", strconv.FormatInt(p.Resources.Disk.Value(), 10)}
	if image := p.runImage(); image != "" {
		export.Command = append(export.Command, "-run-image", image)
	}
	export.Command = append(export.Command, "--")
	// The defaults of extended and project-metadata lie below the layers, where
	// a build could leave layers with files of any owner and mode.
	export.Args = append(lifecycle("exporter"), "-app", pathWorkspace, "-layers", pathLayers, "-analyzed", fileAnalyzed, "-group", fileGroup,
		"-extended", pathAnalyzed+"/extended", "-project-metadata", pathAnalyzed+"/project-metadata.toml",
		"-cache-image", p.Cache(b), "-process-type", ProcessType, "-report", fileReport,
		p.Repository(b)+":"+tag(b), p.Repository(b)+":"+latestTag)
	return export
}

// makeRebase puts an image on another base: no code but the lifecycle's runs,
// and only layers' names are written. The lifecycle wants force when the new
// base is not named in the image; the Build controller has decided which one.
func makeRebase(b *v1alpha1.Build, p Platform) corev1.Container {
	rebase := trusted(v1alpha1.PhaseRebase, p)
	rebase.Command = lifecycle("rebaser")
	rebase.Args = []string{"-previous-image", p.Repository(b) + "@" + b.Spec.Rebase.Digest, "-run-image", p.RunImage, "-force",
		"-report", fileReport, p.Repository(b) + ":" + tag(b), p.Repository(b) + ":" + latestTag}
	return rebase
}

// latestTag follows the function's newest image; the next build takes
// unchanged layers from it. Knit deploys by digest, never by it.
const latestTag = "latest"

func lifecycle(program string) []string { return []string{"/cnb/lifecycle/" + program} }

// trusted is a phase of our own code that holds the registry login.
func trusted(name v1alpha1.PhaseName, p Platform, mounts ...corev1.VolumeMount) corev1.Container {
	c := makeContainer(name, p, append(mounts,
		writable(volumeTmp, pathTmp), readOnly(volumeCredentials, pathCredentials), readOnly(volumeCA, pathCA)))
	c.Env = append(c.Env,
		corev1.EnvVar{Name: "DOCKER_CONFIG", Value: pathCredentials},
		// Go reads this folder besides the bundle of the image; SSL_CERT_FILE
		// would replace that bundle, and public registries would be lost.
		corev1.EnvVar{Name: "SSL_CERT_DIR", Value: pathCA},
	)
	for _, proxy := range p.Proxies {
		c.Env = append(c.Env, corev1.EnvVar{Name: proxy.Name, Value: proxy.Value})
	}
	return c
}

// untrusted is a phase that runs, or may run, what a tenant wrote.
func untrusted(name v1alpha1.PhaseName, p Platform, mounts ...corev1.VolumeMount) corev1.Container {
	c := makeContainer(name, p, append(mounts,
		writable(volumeBuildTmp, pathTmp), writable(volumeHome, pathHome), readOnly(volumePlatformEnv, pathPlatformEnv)))
	c.Env = append(c.Env, corev1.EnvVar{Name: "HOME", Value: pathHome})
	if p.IndexCA != "" {
		c.VolumeMounts = append(c.VolumeMounts, readOnly(volumeIndexCA, pathIndexCA))
	}
	if p.Builder != nil {
		// What holds the registry login is always the platform's own lifecycle.
		c.Image = p.Builder.Image
	}
	return c
}

func makeContainer(name v1alpha1.PhaseName, p Platform, mounts []corev1.VolumeMount) corev1.Container {
	user, group := p.ids()
	return corev1.Container{
		Name:            string(name),
		Image:           p.BuilderImage,
		ImagePullPolicy: corev1.PullIfNotPresent,
		Env: []corev1.EnvVar{
			{Name: "CNB_PLATFORM_API", Value: p.platformAPI()},
			{Name: "CNB_NO_COLOR", Value: "true"},
			{Name: "CNB_USER_ID", Value: strconv.FormatInt(user, 10)},
			{Name: "CNB_GROUP_ID", Value: strconv.FormatInt(group, 10)},
		},
		VolumeMounts:             mounts,
		Resources:                makeResources(p.Resources),
		TerminationMessagePath:   corev1.TerminationMessagePathDefault,
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		SecurityContext: &corev1.SecurityContext{
			RunAsUser:                ptr.To(user),
			RunAsGroup:               ptr.To(group),
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
