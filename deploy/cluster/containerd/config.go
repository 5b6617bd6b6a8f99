// Package containerd runs the operating system's containerd as a child of the
// daemon, with a root, state, socket and configuration of its own, so that it
// never meets another container engine of the machine. It writes the CNI
// configuration of the pod network and imports the pause image. Shims outlive
// containerd and the daemon; a new containerd finds them again.
package containerd

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/knit-dev/knit/deploy/cluster/instance"
)

// PauseImage is the name of the sandbox image; it is imported, never pulled.
const PauseImage = "localhost/knit/pause:1"

// Config is what containerd's files are made from.
type Config struct {
	Instance         instance.Instance
	RegistryUser     string
	RegistryPassword string
	CAFile           string
	// CNIPlugins is the folder with the CNI plugins; Debian's is /usr/lib/cni.
	CNIPlugins string
	// CanLowerOOMScore is false where CAP_SYS_RESOURCE is missing.
	CanLowerOOMScore bool
	// CgroupParent is the cgroup of all pods.
	CgroupParent string
}

var configTOML = template.Must(template.New("config.toml").Parse(`version = 2
root = "{{.Root}}"
state = "{{.State}}"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]

[grpc]
  address = "{{.Socket}}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{{.Pause}}"
  restrict_oom_score_adj = {{.RestrictOOM}}
  netns_mounts_under_state_dir = true
  max_container_log_line_size = 16384
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  max_concurrent_downloads = 4
  device_ownership_from_security_context = true

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{{.CNIPlugins}}"
  conf_dir = "{{.CNIConf}}"
  max_conf_num = 1

[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "{{.Certs}}"

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
  discard_unpacked_layers = true
  default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
  Root = "{{.RuncRoot}}"
`))

// write makes containerd's folders and files and returns the path of its configuration.
func (c Config) write() (string, error) {
	i := c.Instance
	dir := i.Path("containerd")
	values := map[string]any{
		"Root": filepath.Join(dir, "root"), "State": filepath.Join(i.RunDir(), "containerd"),
		"Socket": i.ContainerdSocket(), "Pause": PauseImage, "RestrictOOM": !c.CanLowerOOMScore,
		"CNIPlugins": c.CNIPlugins, "CNIConf": filepath.Join(dir, "cni"), "Certs": filepath.Join(dir, "certs"),
		"RuncRoot": filepath.Join(i.RunDir(), "runc"),
	}
	var config bytes.Buffer
	if err := configTOML.Execute(&config, values); err != nil {
		return "", err
	}
	cni, err := c.cniConfig()
	if err != nil {
		return "", err
	}
	files := map[string][]byte{
		filepath.Join(dir, "config.toml"):                       config.Bytes(),
		filepath.Join(dir, "cni", "10-knit.conflist"):           cni,
		filepath.Join(dir, "certs", i.Registry(), "hosts.toml"): c.hosts(),
	}
	for path, data := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return "", fmt.Errorf("make containerd folder: %w", err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return "", fmt.Errorf("write containerd configuration: %w", err)
		}
	}
	return filepath.Join(dir, "config.toml"), nil
}

// hosts tells containerd how to reach and log in to the cluster's registry.
func (c Config) hosts() []byte {
	url := "https://" + c.Instance.Registry()
	login := base64.StdEncoding.EncodeToString([]byte(c.RegistryUser + ":" + c.RegistryPassword))
	var b strings.Builder
	fmt.Fprintf(&b, "server = %q\n\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = %q\n", url, url, c.CAFile)
	fmt.Fprintf(&b, "\n[host.%q.header]\n  authorization = [%q]\n", url, "Basic "+login)
	return []byte(b.String())
}

// cniConfig is the pod network: the bridge of package network, with addresses
// from the pod range above those that the node and the machine hold.
func (c Config) cniConfig() ([]byte, error) {
	i := c.Instance
	return json.MarshalIndent(map[string]any{
		"cniVersion": "0.4.0",
		"name":       "knit",
		"plugins": []any{map[string]any{
			"type":        "bridge",
			"bridge":      "cni0",
			"isGateway":   true,
			"hairpinMode": true,
			"ipam": map[string]any{
				"type":    "host-local",
				"dataDir": i.Path("containerd", "ipam"),
				"ranges": []any{[]any{map[string]any{
					"subnet": i.PodRange.String(), "gateway": i.BridgeIP().String(), "rangeStart": i.FirstPodIP().String(),
				}}},
				"routes": []any{map[string]any{"dst": "0.0.0.0/0"}},
			},
		}},
	}, "", "  ")
}
