package volumes

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

func options(change func(*corev1.PersistentVolumeClaim)) controller.ProvisionOptions {
	policy := corev1.PersistentVolumeReclaimDelete
	claim := &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
	}}
	if change != nil {
		change(claim)
	}
	return controller.ProvisionOptions{PVName: "pvc-1", PVC: claim, StorageClass: &storagev1.StorageClass{ReclaimPolicy: &policy}}
}

func TestAClaimBecomesAFolder(t *testing.T) {
	p := &Provisioner{Root: t.TempDir(), Node: "knit"}
	// Twice, because a try may die after the folder was made.
	for range 2 {
		volume, _, err := p.Provision(t.Context(), options(nil))
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(volume.Spec.Local.Path)
		if err != nil || info.Mode().Perm() != 0o777 {
			t.Fatalf("the folder: %v, %v; any user must be able to write in it", info, err)
		}
	}
	volume, _, _ := p.Provision(t.Context(), options(nil))
	if err := p.Delete(t.Context(), volume); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(volume.Spec.Local.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestClaimsThatAFolderCannotServe(t *testing.T) {
	cases := map[string]struct {
		change func(*corev1.PersistentVolumeClaim)
		want   string
	}{
		"several nodes":      {func(c *corev1.PersistentVolumeClaim) { c.Spec.AccessModes[0] = corev1.ReadWriteMany }, "ReadWriteMany"},
		"a volume by labels": {func(c *corev1.PersistentVolumeClaim) { c.Spec.Selector = &metav1.LabelSelector{} }, "selector"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := &Provisioner{Root: t.TempDir()}
			if _, _, err := p.Provision(t.Context(), options(c.change)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v, want one about %s", err, c.want)
			}
		})
	}
}

func TestAVolumeOfSomeoneElseIsLeftAlone(t *testing.T) {
	root := t.TempDir()
	p := &Provisioner{Root: filepath.Join(root, "volumes")}
	for name, path := range map[string]string{"pvc-1": root, "..": root, "pvc-2": "/"} {
		volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}}
		volume.Spec.Local = &corev1.LocalVolumeSource{Path: path}
		var ignored *controller.IgnoredError
		if err := p.Delete(t.Context(), volume); !errors.As(err, &ignored) {
			t.Errorf("volume %q at %s: error = %v, want it ignored", name, path, err)
		}
	}
	if _, err := os.Stat(root); err != nil {
		t.Error(err)
	}
}
