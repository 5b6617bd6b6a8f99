// Package instance describes one embedded cluster on one machine: its name,
// address ranges, ports and the folders that belong to it. Every other package
// of deploy/cluster derives names and paths from here, so that two clusters
// with different names never share a file, an interface or a firewall table.
// It never starts anything.
package instance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
)

// Version is the layout version of the state folder. A folder with another
// version is refused: see CheckVersion.
const Version = 1

// Fixed ports on the node address. They can be fixed because every instance
// has a network namespace of its own.
const (
	APIPort         = 6443
	RegistryPort    = 5000
	KubeletPort     = 10250
	EtcdPort        = 2379
	GatewayPort     = 8080 // external HTTP
	GatewayTLSPort  = 8443 // external HTTPS
	GatewayInternal = 8081 // cluster-local HTTP
	DNSPort         = 53
)

// NodeName is the name of the only node.
const NodeName = "knit"

// Domain is the domain of function URLs; clients resolve *.localhost to the
// loopback address (RFC 6761, section 6.3).
const Domain = "knit.localhost"

// ClusterDomain is the DNS domain of services inside the cluster.
const ClusterDomain = "cluster.local"

// Instance is the configuration of one embedded cluster. It is written to
// <StateDir>/instance.json by the first `up` and cannot change afterwards,
// except for HostPort.
type Instance struct {
	Version      int          `json:"version"`
	Name         string       `json:"name"`
	StateDir     string       `json:"stateDir"`
	CacheDir     string       `json:"cacheDir"`
	PodRange     netip.Prefix `json:"podRange"`
	ServiceRange netip.Prefix `json:"serviceRange"`
	// HostPort is the port on the loopback address of the machine where the
	// gateway listens; function URLs carry it when it is not 80.
	HostPort int `json:"gatewayPort"`
	// Knative is whether the cluster has Knative; without it, it is plain Kubernetes.
	Knative bool `json:"knative"`
}

// Default is the instance that `knit cluster up` makes without flags.
func Default() Instance {
	return Instance{
		Version:      Version,
		Name:         "knit",
		StateDir:     "/var/lib/knit",
		CacheDir:     "/var/cache/knit",
		PodRange:     netip.MustParsePrefix("198.18.0.0/16"),
		ServiceRange: netip.MustParsePrefix("198.19.0.0/16"),
		HostPort:     80,
		Knative:      true,
	}
}

// reservedPorts are taken on the bridge address, where the gateway listens on
// HostPort, too, so that function URLs hold inside the cluster.
var reservedPorts = map[int]bool{
	APIPort: true, RegistryPort: true, KubeletPort: true, GatewayPort: true, GatewayTLSPort: true, GatewayInternal: true, DNSPort: true, 443: true,
}

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,10}[a-z0-9]$`)

// Validate reports the first setting that cannot work, with the flag to change.
func (i Instance) Validate() error {
	switch {
	case !namePattern.MatchString(i.Name):
		return fmt.Errorf("--name %q: must be 2 to 12 lower-case letters, digits or '-', starting with a letter (network device names are that short)", i.Name)
	case !filepath.IsAbs(i.StateDir):
		return fmt.Errorf("--state-dir %q: must be an absolute path", i.StateDir)
	case i.HostPort < 1 || i.HostPort > 65535:
		return fmt.Errorf("--gateway-port %d: must be between 1 and 65535", i.HostPort)
	case reservedPorts[i.HostPort]:
		return fmt.Errorf("--gateway-port %d: the cluster itself uses this port on the pod bridge; choose another", i.HostPort)
	case i.PodRange.Overlaps(i.ServiceRange):
		return fmt.Errorf("--pod-cidr %s and --service-cidr %s overlap: choose ranges that do not", i.PodRange, i.ServiceRange)
	}
	for flag, r := range map[string]netip.Prefix{"--pod-cidr": i.PodRange, "--service-cidr": i.ServiceRange} {
		if !r.IsValid() || !r.Addr().Is4() || r.Masked() != r || r.Bits() > 20 || r.Bits() < 8 {
			return fmt.Errorf("%s %s: must be an IPv4 network between /8 and /20, such as 198.18.0.0/16", flag, r)
		}
	}
	return nil
}

// BridgeIP is the address of the node: the first of the pod range. The API
// server, the registry, the cluster DNS and the gateway listen on it.
func (i Instance) BridgeIP() netip.Addr { return i.PodRange.Addr().Next() }

// HostIP is the machine's own address on the pod bridge, the second of the range.
func (i Instance) HostIP() netip.Addr { return i.BridgeIP().Next() }

// FirstPodIP is the lowest address given to pods; those below are reserved
// for addresses that the node and the machine hold on the bridge.
func (i Instance) FirstPodIP() netip.Addr {
	b := i.PodRange.Addr().As4()
	b[3] = 16
	return netip.AddrFrom4(b)
}

// DNSServiceIP is the cluster IP of the kube-dns Service: the tenth of the range.
func (i Instance) DNSServiceIP() netip.Addr {
	b := i.ServiceRange.Addr().As4()
	b[3] = 10
	return netip.AddrFrom4(b)
}

// APIServiceIP is the cluster IP of the kubernetes Service: the first of the range.
func (i Instance) APIServiceIP() netip.Addr { return i.ServiceRange.Addr().Next() }

// URL is the https base URL of the API server.
func (i Instance) URL() string { return fmt.Sprintf("https://%s:%d", i.BridgeIP(), APIPort) }

// Registry is the host:port under which machine, pods and containerd know the registry.
func (i Instance) Registry() string { return fmt.Sprintf("%s:%d", i.BridgeIP(), RegistryPort) }

// HostDevice is the machine's end of the link to the pod bridge.
func (i Instance) HostDevice() string { return i.Name + "0" }

// Path joins elements to the state folder.
func (i Instance) Path(elem ...string) string {
	return filepath.Join(append([]string{i.StateDir}, elem...)...)
}

// RunDir holds sockets and run-time state that need not survive a reboot; it
// is short because the path of a unix socket must fit 108 bytes.
func (i Instance) RunDir() string { return filepath.Join("/run/knit", i.Name) }

// Kubeconfig is the administrator's kubeconfig, mode 0600.
func (i Instance) Kubeconfig() string { return i.Path("kubeconfig") }

// Socket is the daemon's control socket.
func (i Instance) Socket() string { return filepath.Join(i.RunDir(), "daemon.sock") }

// ContainerdSocket is the CRI endpoint.
func (i Instance) ContainerdSocket() string { return filepath.Join(i.RunDir(), "containerd.sock") }

// Save writes the instance to its state folder.
func (i Instance) Save() error {
	data, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return err
	}
	tmp := i.Path("instance.json.new")
	if err := os.WriteFile(tmp, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write instance: %w", err)
	}
	return os.Rename(tmp, i.Path("instance.json"))
}

// ErrNone says that a folder holds no instance.
var ErrNone = errors.New("no cluster here")

// Load reads the instance of a state folder. It returns ErrNone (wrapped) when
// the folder has none, and an error that says what to do when the folder was
// written by another version of the program.
func Load(stateDir string) (Instance, error) {
	var i Instance
	data, err := os.ReadFile(filepath.Join(stateDir, "instance.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return i, fmt.Errorf("state folder %s: %w; create one with: knit cluster up", stateDir, ErrNone)
	}
	if err != nil {
		return i, fmt.Errorf("read instance: %w", err)
	}
	if err := json.Unmarshal(data, &i); err != nil {
		return i, fmt.Errorf("read %s: %w; remove the cluster with: knit cluster delete --state-dir %s --name NAME", filepath.Join(stateDir, "instance.json"), err, stateDir)
	}
	if !namePattern.MatchString(i.Name) {
		return i, fmt.Errorf("read %s: no valid name of a cluster in it; remove the cluster with: knit cluster delete --state-dir %s --name NAME", filepath.Join(stateDir, "instance.json"), stateDir)
	}
	i.StateDir = stateDir
	return i, i.checkVersion()
}

// VersionError tells that a state folder has the layout of another program version.
type VersionError struct {
	StateDir   string
	Have, Want int
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("state folder %s has layout version %d, this program needs %d: use the program that made it, or remove it with: knit cluster delete --state-dir %s",
		e.StateDir, e.Have, e.Want, e.StateDir)
}

func (i Instance) checkVersion() error {
	if i.Version == Version {
		return nil
	}
	return &VersionError{StateDir: i.StateDir, Have: i.Version, Want: Version}
}
