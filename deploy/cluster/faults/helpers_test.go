//go:build e2e

package faults

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/knit-dev/knit/deploy/cluster/daemon"
	"github.com/knit-dev/knit/deploy/cluster/instance"
	"github.com/knit-dev/knit/deploy/cluster/machine"
	"github.com/knit-dev/knit/deploy/cluster/network"
)

func (c *cluster) config() *rest.Config {
	c.t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		c.t.Fatal(err)
	}
	return config
}

func (c *cluster) client() *kubernetes.Clientset {
	c.t.Helper()
	client, err := kubernetes.NewForConfig(c.config())
	if err != nil {
		c.t.Fatal(err)
	}
	return client
}

func (c *cluster) waitReady() {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		s, err := daemon.Query(c.t.Context(), c.Instance)
		if err == nil && s.Ready() {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("not ready again: %v %v", s, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// containerdOf returns containerd itself, without its shims.
func containerdOf(i instance.Instance) []int {
	var pids []int
	for _, pid := range machine.Processes(i) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && filepath.Base(string(bytes.SplitN(line, []byte{0}, 2)[0])) == "containerd" {
			pids = append(pids, pid)
		}
	}
	return pids
}

func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// listensLocally checks every listening socket of the daemon: in its own
// namespace on loopback or the bridge, on the machine on loopback only.
func (c *cluster) listensLocally(t *testing.T) {
	var inside string
	err := network.Do(network.NamespacePath(c.Instance), func() error {
		out, err := exec.Command("ss", "-Hltn").Output()
		inside = string(out)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(inside) {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			continue
		}
		address := fields[3]
		if !strings.HasPrefix(address, "127.0.0.1:") && !strings.HasPrefix(address, "100.66.0.1:") {
			t.Errorf("something in the cluster's namespace listens on %s", address)
		}
	}
	pid := fmt.Sprintf("pid=%d,", c.Holder("daemon"))
	out, err := exec.Command("ss", "-Hltnp").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if strings.Contains(line, pid) && !strings.HasPrefix(fields[3], "127.0.0.1:") {
			t.Errorf("the daemon listens on %s of the machine", fields[3])
		}
	}
}
