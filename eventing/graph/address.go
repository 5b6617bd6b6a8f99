package graph

import (
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	duckv1 "knative.dev/pkg/apis/duck/v1"
)

// defaultPorts are those that a URL need not say.
var defaultPorts = map[string]string{"http": "80", "https": "443"}

// normal is a URL as it is compared: without what does not change where it
// leads. Nothing when it is no address.
func normal(address string) (whole, host string) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "", ""
	}
	name := strings.TrimSuffix(strings.ToLower(u.Host), ":"+defaultPorts[u.Scheme])
	name = strings.TrimSuffix(name, ".cluster.local")
	host = u.Scheme + "://" + name
	return host + strings.TrimSuffix(u.EscapedPath(), "/"), host
}

// addressesOf are the addresses of a status in the shape of Knative.
func addressesOf(status duckv1.AddressStatus) []string {
	var all []string
	if status.Address != nil && status.Address.URL != nil {
		all = append(all, status.Address.URL.String())
	}
	for _, a := range status.Addresses {
		if a.URL != nil {
			all = append(all, a.URL.String())
		}
	}
	return all
}

// duckAddresses reads the addresses of an object of any kind. That of a Service
// of Kubernetes follows from its name.
func duckAddresses(object *unstructured.Unstructured) []string {
	if object.GetKind() == "Service" && object.GetAPIVersion() == "v1" {
		return []string{"http://" + object.GetName() + "." + object.GetNamespace() + ".svc"}
	}
	var all []string
	for _, path := range [][]string{{"status", "address", "url"}, {"status", "url"}} {
		if address, _, _ := unstructured.NestedString(object.Object, path...); address != "" {
			all = append(all, address)
		}
	}
	several, _, _ := unstructured.NestedSlice(object.Object, "status", "addresses")
	for _, one := range several {
		if m, ok := one.(map[string]any); ok {
			if address, ok := m["url"].(string); ok && address != "" {
				all = append(all, address)
			}
		}
	}
	return all
}
