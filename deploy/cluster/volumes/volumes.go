// Package volumes gives the embedded cluster its storage class: a claim becomes
// a folder of the state folder. The daemon runs one Provisioner; the volume
// controllers of Kubernetes and the kubelet's local volumes do the rest. It
// enforces no size: a folder has all the disk that the machine has.
package volumes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	astoragev1 "k8s.io/client-go/applyconfigurations/storage/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const (
	// ClassName is the name of the class, which is the cluster's default.
	ClassName = "knit-local"
	// provisionerName is how the class names this package.
	provisionerName = "knit.dev/local"
	// defaultClass marks the class for claims that name none.
	defaultClass = "storageclass.kubernetes.io/is-default-class"
)

// Provisioner makes and removes the folders of claims below Root, on the node.
type Provisioner struct {
	Root string
	Node string
}

// Class is the storage class of this package. Its volumes go with their claims.
func Class() *astoragev1.StorageClassApplyConfiguration {
	return astoragev1.StorageClass(ClassName).
		WithAnnotations(map[string]string{defaultClass: "true"}).
		WithProvisioner(provisionerName).
		WithReclaimPolicy(corev1.PersistentVolumeReclaimDelete).
		WithVolumeBindingMode(storagev1.VolumeBindingImmediate)
}

// Run provisions until ctx ends.
func (p *Provisioner) Run(ctx context.Context, client kubernetes.Interface) error {
	// Only the owner may look in: what is in a folder is the pod's.
	if err := os.MkdirAll(p.Root, 0o700); err != nil {
		return fmt.Errorf("make the folder of volumes: %w", err)
	}
	controller.NewProvisionController(ctx, client, provisionerName, p, controller.LeaderElection(false), controller.Threadiness(2)).Run(ctx)
	return nil
}

// Provision makes the folder of a claim. It may be there from a try that died.
func (p *Provisioner) Provision(_ context.Context, o controller.ProvisionOptions) (*corev1.PersistentVolume, controller.ProvisioningState, error) {
	for _, mode := range o.PVC.Spec.AccessModes {
		if mode != corev1.ReadWriteOnce && mode != corev1.ReadWriteOncePod {
			return nil, controller.ProvisioningFinished, fmt.Errorf("access mode %s: a volume of class %s is a folder of one node; use %s", mode, ClassName, corev1.ReadWriteOnce)
		}
	}
	if o.PVC.Spec.Selector != nil {
		return nil, controller.ProvisioningFinished, errors.New("a claim with a selector means a volume that is there already; this class only makes new ones")
	}
	folder := filepath.Join(p.Root, o.PVName)
	if err := os.Mkdir(folder, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, controller.ProvisioningFinished, fmt.Errorf("make the folder: %w", err)
	}
	// Whichever user the pod runs as, umask or not.
	if err := os.Chmod(folder, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("open the folder to the pod: %w", err)
	}
	return p.volume(o, folder), controller.ProvisioningFinished, nil
}

func (p *Provisioner) volume(o controller.ProvisionOptions, folder string) *corev1.PersistentVolume {
	here := corev1.NodeSelectorRequirement{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{p.Node}}
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			AccessModes:                   o.PVC.Spec.AccessModes,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: o.PVC.Spec.Resources.Requests[corev1.ResourceStorage]},
			PersistentVolumeSource:        corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: folder}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{here}}},
			}},
		},
	}
}

// Delete removes the folder of a volume that this package made.
func (p *Provisioner) Delete(_ context.Context, v *corev1.PersistentVolume) error {
	// By its own reckoning, not by the path in the object, which others may write.
	folder := filepath.Join(p.Root, v.Name)
	if v.Spec.Local == nil || v.Spec.Local.Path != folder || filepath.Dir(folder) != filepath.Clean(p.Root) {
		return &controller.IgnoredError{Reason: fmt.Sprintf("volume %s is no folder of %s", v.Name, p.Root)}
	}
	if err := os.RemoveAll(folder); err != nil {
		return fmt.Errorf("remove the folder: %w", err)
	}
	return nil
}
