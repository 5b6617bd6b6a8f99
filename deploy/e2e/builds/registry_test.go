//go:build e2e

package builds

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// nft runs commands of nftables in the network namespace of the cluster.
func (s *stand) nft(t *testing.T, commands string) {
	t.Helper()
	cmd := exec.Command("ip", "netns", "exec", s.cluster, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(commands)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
}

// cut keeps the pod of a Build from the registry: "drop" as if the network were
// broken, "reject with tcp reset" as if the registry were stopped. The answer
// mends it.
func (s *stand) cut(t *testing.T, h held, how string) (mend func()) {
	t.Helper()
	pod := s.pod(t.Context(), h.build)
	table := "e2e_" + strings.ReplaceAll(string(pod.UID), "-", "_")
	_, port, _ := strings.Cut(s.registry.Host, ":")
	// Packets to the bridge's own address come in there, those to other pods do not.
	s.nft(t, fmt.Sprintf("table ip %s { chain in { type filter hook input priority -10; ip saddr %s tcp dport %s %s; }; }\n", table, pod.Status.PodIP, port, how))
	mend = sync.OnceFunc(func() { s.nft(t, "delete table ip "+table+"\n") })
	t.Cleanup(mend)
	return mend
}

func TestRegistryAway(t *testing.T) {
	t.Parallel()
	t.Run("stopped before a phase", func(t *testing.T) {
		t.Parallel()
		reasons := map[v1alpha1.PhaseName]string{
			v1alpha1.PhaseFetch: "FetchFailed", v1alpha1.PhaseAnalyze: "AnalyzeFailed", v1alpha1.PhaseExport: "ExportFailed",
		}
		for phase, reason := range reasons {
			t.Run(string(phase), func(t *testing.T) {
				t.Parallel()
				o := order{namespace: s.Namespace(t), function: "away", hostile: true}
				h := s.hold(t, o, phase)
				s.running(t, h)
				mend := s.cut(t, h, "reject with tcp reset")
				h.goOn()
				s.mustFail(t, h.build, reason, "connection refused")
				mend()
				s.mustSucceed(t, s.start(t, o))
			})
		}
	})
	t.Run("away for a moment", func(t *testing.T) {
		t.Parallel()
		h := s.hold(t, order{namespace: s.Namespace(t), function: "moment", hostile: true}, v1alpha1.PhaseExport)
		s.running(t, h)
		mend := s.cut(t, h, "drop")
		h.goOn()
		// The export is under way and gets no answer; the network is mended
		// well within its patience.
		time.AfterFunc(4*time.Second, mend)
		s.mustSucceed(t, h.build)
	})
}

// While nothing else runs: what the registry writes goes to a disk of one
// mebibyte, over the one with its content.
func TestRegistryFull(t *testing.T) {
	o := order{namespace: s.Namespace(t), function: "full"}
	folder, small := filepath.Join(s.StateDir, "registry"), t.TempDir()
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(small, syscall.MNT_DETACH) })
	upper, work := filepath.Join(small, "upper"), filepath.Join(small, "work")
	if err := errors.Join(os.Mkdir(upper, 0o700), os.Mkdir(work, 0o700)); err != nil {
		t.Fatal(err)
	}
	h := s.hold(t, o, v1alpha1.PhaseExport)
	if err := syscall.Mount("overlay", folder, "overlay", 0, "lowerdir="+folder+",upperdir="+upper+",workdir="+work); err != nil {
		t.Fatal(err)
	}
	more := sync.OnceFunc(func() {
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(more)
	h.goOn()
	s.mustFail(t, h.build, "ExportFailed", "disk is full")
	more()
	s.mustSucceed(t, s.start(t, o))
}

// knitCluster runs the command for the cluster under test.
func (s *stand) knitCluster(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	args = append(args, "--state-dir", s.StateDir)
	if out, err := exec.CommandContext(ctx, filepath.Join(s.Binaries, "knit-cluster"), args...).CombinedOutput(); err != nil {
		t.Fatalf("knit-cluster %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
