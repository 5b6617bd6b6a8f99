package incluster

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// The volumes of a build pod.
const (
	volumeWorkspace   = "workspace"
	volumeLayers      = "layers"
	volumeAnalyzed    = "analyzed"
	volumeTool        = "tool"
	volumeTmp         = "tmp"
	volumeBuildTmp    = "build-tmp"
	volumeHome        = "home"
	volumePlatformEnv = "platform-env"
	volumeCredentials = "registry-credentials"
	volumeCA          = "registry-ca"
	volumeIndexCA     = "index-ca"
)

// Where they are mounted.
const (
	pathWorkspace   = "/workspace"
	pathLayers      = "/layers"
	pathAnalyzed    = "/analyzed"
	pathTool        = "/knit"
	pathTmp         = "/tmp"
	pathHome        = "/home/build"
	pathPlatform    = "/platform"
	pathPlatformEnv = pathPlatform + "/env"
	pathCredentials = "/registry-credentials"
	pathCA          = "/registry-ca"
	pathIndexCA     = "/index-ca"
	pathVolumes     = "/volumes/" // and the volume's name, for fetch
)

// subFolder is where the source and the layers lie in their volumes. A
// volume's own folder belongs to root and is open to everybody, which would go
// into the image with it; fetch makes these two anew.
const subFolder = "folder"

// indexCAVariables are how Go, npm and pip learn of authorities besides the
// usual. pip takes them in place of the usual ones.
var indexCAVariables = []v1alpha1.BuildEnv{
	{Name: "SSL_CERT_DIR", Value: pathIndexCA},
	{Name: "NODE_EXTRA_CA_CERTS", Value: pathIndexCA + "/ca.crt"},
	{Name: "PIP_CERT", Value: pathIndexCA + "/ca.crt"},
}

func makeVolumes(b *v1alpha1.Build, p Platform) []corev1.Volume {
	disk := p.Resources.Disk
	// The files that detect and build leave in their /tmp are not for those
	// who hold the login, hence two of them.
	var volumes []corev1.Volume
	for _, name := range []string{volumeWorkspace, volumeLayers, volumeAnalyzed, volumeTool, volumeTmp, volumeBuildTmp, volumeHome} {
		volumes = append(volumes, corev1.Volume{
			Name: name,
			VolumeSource: corev1.VolumeSource{
				EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &disk},
			},
		})
	}
	if p.IndexCA != "" {
		volumes = append(volumes, authorities(volumeIndexCA, p.IndexCA))
	}
	return append(volumes,
		corev1.Volume{Name: volumePlatformEnv, VolumeSource: corev1.VolumeSource{DownwardAPI: makeEnvFiles(p.variables(b))}},
		corev1.Volume{Name: volumeCredentials, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
			SecretName:  orElse(p.Credentials, CredentialsSecret),
			DefaultMode: ptr.To(int32(0o440)),
			Items:       []corev1.KeyToPath{{Key: corev1.DockerConfigJsonKey, Path: "config.json"}},
		}}},
		authorities(volumeCA, orElse(p.CA, CAConfigMap)),
	)
}

// authorities is a volume with certificates, which are no secret.
func authorities(name, configMap string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: configMap},
		DefaultMode:          ptr.To(int32(0o444)),
	}}}
}

func orElse(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// envAnnotation holds the value of a variable. The key is a number: names of
// variables may have a form or length that names of annotations may not.
func envAnnotation(i int) string { return fmt.Sprintf("build.knit.dev/env-%d", i) }

// makeEnvFiles gives the variables to the buildpacks as the platform API has
// it: a file for each, in /platform/env. They come from the pod's own
// annotations, so there is no second object to own and remove.
func makeEnvFiles(variables []v1alpha1.BuildEnv) *corev1.DownwardAPIVolumeSource {
	source := &corev1.DownwardAPIVolumeSource{DefaultMode: ptr.To(int32(0o444))}
	for i, env := range variables {
		source.Items = append(source.Items, corev1.DownwardAPIVolumeFile{
			Path:     env.Name,
			FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.annotations['" + envAnnotation(i) + "']"},
		})
	}
	return source
}

func writable(name, path string) corev1.VolumeMount {
	return corev1.VolumeMount{Name: name, MountPath: path}
}

// folder mounts the sub-folder that fetch has made in a volume.
func folder(m corev1.VolumeMount) corev1.VolumeMount {
	m.SubPath = subFolder
	return m
}

func readOnly(name, path string) corev1.VolumeMount {
	return corev1.VolumeMount{Name: name, MountPath: path, ReadOnly: true}
}
