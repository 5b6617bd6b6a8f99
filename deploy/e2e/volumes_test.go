//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestAVolumeOutlivesItsPods: a claim that names no class gets a folder, in which
// a pod finds what another wrote, and which goes with the claim.
func TestAVolumeOutlivesItsPods(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	ctx := t.Context()
	claims := kube.CoreV1().PersistentVolumeClaims(ns)
	_, err := claims.Create(ctx, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "kept"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")}},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"write", "/kept/file", "written by another"}, {"read", "/kept/file"}} {
		p := probePod(args[0], args...)
		p.Spec.Volumes = []corev1.Volume{{Name: "kept", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "kept"},
		}}}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "kept", MountPath: "/kept"}}
		create(t, ns, p)
		if end := finished(t, ns, args[0]); end.ExitCode != 0 {
			t.Fatalf("%s ended with %s (code %d): %s", args[0], end.Reason, end.ExitCode, logs(t, ns, args[0]))
		}
		if err := kube.CoreV1().Pods(ns).Delete(ctx, args[0], metav1.DeleteOptions{}); err != nil && args[0] == "write" {
			t.Fatal(err)
		}
	}
	claim, err := claims.Get(ctx, "kept", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(stateDir, "volumes", claim.Spec.VolumeName)
	if content, err := os.ReadFile(filepath.Join(folder, "file")); err != nil || string(content) != "written by another" {
		t.Errorf("the folder of the volume holds %q, %v", content, err)
	}
	if err := claims.Delete(ctx, "kept", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	shared.Eventually(t, "the volume and its folder are gone", func(ctx context.Context) (bool, error) {
		_, err := kube.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
		_, stat := os.Stat(folder)
		return apierrors.IsNotFound(err) && os.IsNotExist(stat), nil
	})
}
