package pki

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/knit-dev/knit/deploy/cluster/instance"
)

// Pair is the paths of a certificate and its key.
type Pair struct{ Cert, Key string }

// Cluster is every certificate of one instance.
type Cluster struct {
	CA, FrontProxyCA                              *Authority
	APIServer, FrontProxy, KubeletClient, Kubelet Pair
	EtcdServer, EtcdClient, Registry              Pair
	ServiceAccountKey, ServiceAccountPub          string
	RegistryPassword                              string
	kubeconfigs                                   map[string]string
}

// users are the identities that get a kubeconfig: name → common name, group.
// The names of users and groups are those of Kubernetes' built-in roles.
var users = map[string][2]string{
	"admin":              {"knit-admin", "system:masters"},
	"controller-manager": {"system:kube-controller-manager", ""},
	"scheduler":          {"system:kube-scheduler", ""},
	"kubelet":            {"system:node:" + instance.NodeName, "system:nodes"},
	"kube-proxy":         {"system:kube-proxy", ""},
	"cluster":            {"knit-cluster", "system:masters"},
}

// OpenCluster makes or loads every certificate, key, password and kubeconfig of the instance.
func OpenCluster(i instance.Instance) (*Cluster, error) {
	dir := i.Path("pki")
	c := &Cluster{kubeconfigs: map[string]string{}}
	var err error
	if c.CA, err = OpenAuthority(dir, "ca"); err != nil {
		return nil, err
	}
	if c.FrontProxyCA, err = OpenAuthority(dir, "front-proxy-ca"); err != nil {
		return nil, err
	}
	if err := c.issue(i); err != nil {
		return nil, err
	}
	if c.ServiceAccountKey, c.ServiceAccountPub, err = ServiceAccountKey(dir); err != nil {
		return nil, err
	}
	if c.RegistryPassword, err = password(i.Path("pki", "registry-password")); err != nil {
		return nil, err
	}
	for name, u := range users {
		if err := c.writeKubeconfig(i, name, u); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Cluster) issue(i instance.Instance) error {
	bridge, loopback := net.IP(i.BridgeIP().AsSlice()), net.IPv4(127, 0, 0, 1)
	leaves := []struct {
		to *Pair
		ca *Authority
		l  Leaf
	}{
		{&c.APIServer, c.CA, Leaf{Name: "apiserver", CommonName: "kube-apiserver",
			DNSNames: []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc",
				"kubernetes.default.svc." + instance.ClusterDomain, "localhost", instance.NodeName},
			Addresses: []net.IP{bridge, loopback, i.APIServiceIP().AsSlice()}}},
		{&c.KubeletClient, c.CA, Leaf{Name: "apiserver-kubelet-client", CommonName: "kube-apiserver-kubelet-client", Organizations: []string{"system:masters"}}},
		{&c.Kubelet, c.CA, Leaf{Name: "kubelet", CommonName: "system:node:" + instance.NodeName, Organizations: []string{"system:nodes"},
			DNSNames: []string{instance.NodeName}, Addresses: []net.IP{bridge, loopback}}},
		{&c.FrontProxy, c.FrontProxyCA, Leaf{Name: "front-proxy-client", CommonName: "front-proxy-client"}},
		{&c.EtcdServer, c.CA, Leaf{Name: "etcd", CommonName: "etcd", DNSNames: []string{"localhost"}, Addresses: []net.IP{loopback}}},
		{&c.EtcdClient, c.CA, Leaf{Name: "etcd-client", CommonName: "kube-apiserver-etcd-client"}},
		{&c.Registry, c.CA, Leaf{Name: "registry", CommonName: "registry", DNSNames: []string{"localhost"}, Addresses: []net.IP{bridge, loopback}}},
	}
	for _, x := range leaves {
		cert, key, err := x.ca.Issue(x.l)
		if err != nil {
			return err
		}
		*x.to = Pair{cert, key}
	}
	return nil
}

// Kubeconfig is the path of the kubeconfig of a built-in user.
func (c *Cluster) Kubeconfig(user string) string { return c.kubeconfigs[user] }

func (c *Cluster) writeKubeconfig(i instance.Instance, name string, user [2]string) error {
	l := Leaf{Name: "user-" + name, CommonName: user[0]}
	if user[1] != "" {
		l.Organizations = []string{user[1]}
	}
	cert, key, err := c.CA.Issue(l)
	if err != nil {
		return err
	}
	certData, err := os.ReadFile(cert)
	if err != nil {
		return err
	}
	keyData, err := os.ReadFile(key)
	if err != nil {
		return err
	}
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters[i.Name] = &clientcmdapi.Cluster{Server: i.URL(), CertificateAuthorityData: c.CA.PEM()}
	cfg.AuthInfos[i.Name] = &clientcmdapi.AuthInfo{ClientCertificateData: certData, ClientKeyData: keyData}
	cfg.Contexts[i.Name] = &clientcmdapi.Context{Cluster: i.Name, AuthInfo: i.Name}
	cfg.CurrentContext = i.Name
	path := i.Path("pki", name+".kubeconfig")
	if name == "admin" {
		path = i.Kubeconfig()
	}
	c.kubeconfigs[name] = path
	if err := clientcmd.WriteToFile(*cfg, path); err != nil {
		return fmt.Errorf("write kubeconfig of %s: %w", name, err)
	}
	return os.Chmod(path, 0o600)
}

func password(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err == nil {
		return string(data), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read registry password: %w", err)
	}
	raw := make([]byte, 24)
	if _, err := rand.Read(raw); err != nil {
		return "", err
	}
	text := hex.EncodeToString(raw)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	return text, os.WriteFile(path, []byte(text), 0o600)
}
