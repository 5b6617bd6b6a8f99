package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// cluster runs knit-cluster and hides its output unless it fails.
func (b *bench) cluster(ctx context.Context, args ...string) error {
	_, err := b.output(ctx, args...)
	return err
}

func (b *bench) output(ctx context.Context, args ...string) ([]byte, error) {
	b.touched = true
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "knit-cluster"), args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("knit-cluster %s: %w\n%s", args[0], err, stderr.Bytes())
	}
	return stdout.Bytes(), nil
}

func (b *bench) config() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(b.state, "kubeconfig"))
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 200, 400
	return config, nil
}

func (b *bench) clients() (*kubernetes.Clientset, *dynamic.DynamicClient, error) {
	config, err := b.config()
	if err != nil {
		return nil, nil, err
	}
	kube, err1 := kubernetes.NewForConfig(config)
	objects, err2 := dynamic.NewForConfig(config)
	return kube, objects, errors.Join(err1, err2)
}

// ready makes sure that the cluster runs and the image of the pods is there.
func (b *bench) ready(ctx context.Context) error {
	if err := b.cluster(ctx, b.up...); err != nil {
		return err
	}
	const name = "knit/bench-probe"
	out, err := b.output(ctx, "images", "--state-dir", b.state, name+"=github.com/knit-dev/knit/deploy/e2e/probe")
	if err != nil {
		return err
	}
	var refs map[string]string
	if err := json.Unmarshal(out, &refs); err != nil {
		return err
	}
	b.image = refs[name]
	return nil
}

// measureUp times `up` from an empty state folder until Knative is ready, with
// everything built.
func (b *bench) measureUp(ctx context.Context) ([]figure, error) {
	if err := b.cluster(ctx, b.up...); err != nil { // builds what is not built
		return nil, err
	}
	var s samples
	for range b.samples {
		if err := b.cluster(ctx, "delete", "--state-dir", b.state); err != nil {
			return nil, err
		}
		begin := time.Now()
		if err := b.cluster(ctx, b.up...); err != nil {
			return nil, err
		}
		s.add(time.Since(begin))
	}
	return []figure{{"`up`, everything built, empty state → Knative ready", "≤ 30 s", s}}, nil
}

// settle is how long the cluster is left alone before its memory is read.
const settle = 60 * time.Second

// measureMemory adds up the proportional set size (PSS of smaps_rollup: shared
// pages count once) of the daemon, containerd, the shims and all containers.
func (b *bench) measureMemory(ctx context.Context) ([]figure, error) {
	if err := sleep(ctx, settle); err != nil {
		return nil, err
	}
	pss, rss := samples{unit: "MiB"}, samples{unit: "MiB"}
	for range b.samples {
		p, r, err := b.memory()
		if err != nil {
			return nil, err
		}
		pss.values, rss.values = append(pss.values, p), append(rss.values, r)
		if err := sleep(ctx, time.Second); err != nil {
			return nil, err
		}
	}
	return []figure{
		{"resident memory of everything, idle (PSS)", "≤ 1.2 GB", pss},
		{"the same, pages shared by processes counted in each (RSS)", "", rss},
	}, nil
}

func (b *bench) memory() (pss, rss float64, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, 0, err
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil || !b.owns(e.Name()) {
			continue
		}
		data, err := os.ReadFile(filepath.Join("/proc", e.Name(), "smaps_rollup"))
		if err != nil {
			continue // it has ended
		}
		for line := range strings.Lines(string(data)) {
			fields := strings.Fields(line)
			if len(fields) < 2 {
				continue
			}
			kib, _ := strconv.ParseFloat(fields[1], 64)
			switch fields[0] {
			case "Pss:":
				pss += kib / 1024
			case "Rss:":
				rss += kib / 1024
			}
		}
	}
	return pss, rss, nil
}

// owns tells whether a process belongs to the cluster: by its control group, or
// by the state or run folder among its arguments.
func (b *bench) owns(pid string) bool {
	group, err := os.ReadFile(filepath.Join("/proc", pid, "cgroup"))
	if err != nil {
		return false
	}
	if bytes.Contains(group, []byte("/"+b.name+"/")) {
		return true
	}
	args, err := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
	if err != nil || !bytes.Contains(args, []byte("containerd")) && !bytes.Contains(args, []byte("knit-cluster")) {
		return false
	}
	return bytes.Contains(args, []byte(b.state)) || bytes.Contains(args, []byte("/run/knit/"+b.name+"/"))
}

// workingSet is that of the pods of a namespace whose names begin so, in MiB.
func (b *bench) workingSet(ctx context.Context, kube *kubernetes.Clientset, namespace, prefix string) (float64, error) {
	nodes, err := kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return 0, err
	}
	var total float64
	for _, node := range nodes.Items {
		raw, err := kube.CoreV1().RESTClient().Get().Resource("nodes").Name(node.Name).SubResource("proxy").Suffix("stats/summary").DoRaw(ctx)
		if err != nil {
			return 0, fmt.Errorf("read the memory of node %s: %w", node.Name, err)
		}
		var summary struct {
			Pods []struct {
				PodRef struct{ Namespace, Name string }
				Memory struct{ WorkingSetBytes float64 }
			}
		}
		if err := json.Unmarshal(raw, &summary); err != nil {
			return 0, err
		}
		for _, pod := range summary.Pods {
			if pod.PodRef.Namespace == namespace && strings.HasPrefix(pod.PodRef.Name, prefix) {
				total += pod.Memory.WorkingSetBytes
			}
		}
	}
	return total / (1 << 20), nil
}

// measureRestart times `up` after `down` until a service that was scaled to
// zero answers.
func (b *bench) measureRestart(ctx context.Context) ([]figure, error) {
	s, err := b.deploy(ctx, 1, false)
	if err != nil {
		return nil, err
	}
	defer s.remove(context.WithoutCancel(ctx))
	var total samples
	for range b.samples {
		if err := s.wantsNone(ctx); err != nil {
			return nil, err
		}
		if err := b.cluster(ctx, "down", "--state-dir", b.state); err != nil {
			return nil, err
		}
		begin := time.Now()
		if err := b.cluster(ctx, b.up...); err != nil {
			return nil, err
		}
		if err := s.answers(ctx, 0); err != nil {
			return nil, err
		}
		total.add(time.Since(begin))
	}
	return []figure{{"`up` after `down` → a scaled-to-zero service answers", "≤ 10 s", total}}, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

var background = metav1.DeletePropagationBackground
