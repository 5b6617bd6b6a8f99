package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
)

// PodOptions say where and as whom a function runs. They are fields of a pod,
// with the meaning that Kubernetes gives them.
type PodOptions struct {
	// Volumes are files that the function finds at their mountPath.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Volumes []Volume `json:"volumes,omitempty"`

	// ServiceAccountName is who the function is to the cluster's API. With one,
	// and only then, its token is in the pod, which makes a cold start about a
	// second longer.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// RuntimeClassName chooses another container runtime, such as a sandbox.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	RuntimeClassName string `json:"runtimeClassName,omitempty"`

	// NodeSelector are labels that a node must have to run the function.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MaxProperties=32
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`

	// Tolerations are taints of nodes that the function may run on.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
}

// Volume is one source of files and the place where the function sees them.
//
// +kubebuilder:validation:XValidation:rule="[has(self.secret), has(self.configMap), has(self.emptyDir), has(self.persistentVolumeClaim)].filter(x, x).size() == 1",message="a volume has exactly one of secret, configMap, emptyDir and persistentVolumeClaim"
type Volume struct {
	// Name of the volume, unique in the Function.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`
	// MountPath is an absolute path in the function's container.
	// +kubebuilder:validation:Pattern=`^/[^:]+$`
	// +kubebuilder:validation:MaxLength=1024
	MountPath string `json:"mountPath"`
	// ReadOnly forbids writing. What comes from a Secret or a ConfigMap always is.
	// +optional
	ReadOnly bool `json:"readOnly,omitempty"`

	// Secret whose keys become files.
	// +optional
	Secret *corev1.SecretVolumeSource `json:"secret,omitempty"`
	// ConfigMap whose keys become files.
	// +optional
	ConfigMap *corev1.ConfigMapVolumeSource `json:"configMap,omitempty"`
	// EmptyDir is a folder that lives and ends with the pod.
	// +optional
	EmptyDir *corev1.EmptyDirVolumeSource `json:"emptyDir,omitempty"`
	// PersistentVolumeClaim keeps files beyond the pod. Knative must allow it:
	// config-features, kubernetes.podspec-persistent-volume-claim.
	// +optional
	PersistentVolumeClaim *corev1.PersistentVolumeClaimVolumeSource `json:"persistentVolumeClaim,omitempty"`
}

// Source is the volume as a pod has it.
func (v Volume) Source() corev1.VolumeSource {
	return corev1.VolumeSource{Secret: v.Secret, ConfigMap: v.ConfigMap, EmptyDir: v.EmptyDir, PersistentVolumeClaim: v.PersistentVolumeClaim}
}
