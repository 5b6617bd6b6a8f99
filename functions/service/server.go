package service

import (
	"errors"
	"fmt"
	"net"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/endpoints/request"
	genericserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/util/compatibility"
	"k8s.io/client-go/rest"
)

// genericServer is the chain of a Kubernetes API server (TLS, authentication,
// authorization, panics, limits, health) around this package's handlers.
func (s *Server) genericServer() (*genericserver.GenericAPIServer, error) {
	config := genericserver.NewConfig(codecs())
	config.EffectiveVersion = compatibility.DefaultBuildEffectiveVersion()
	config.SkipOpenAPIInstallation = true
	config.EnableProfiling = false
	config.EnableIndex = false
	// Without a token in it nobody gets the loopback identity.
	config.LoopbackClientConfig = &rest.Config{}
	config.LongRunningFunc = longRunning

	listener, err := net.Listen("tcp", s.options.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %s (is another process using it?): %w", s.options.Listen, err)
	}
	config.SecureServing = &genericserver.SecureServingInfo{Listener: listener, Cert: s.cert}
	config.ExternalAddress = listener.Addr().String()

	server, err := s.complete(config)
	if err != nil {
		_ = listener.Close()
		return nil, err
	}
	return server, nil
}

func (s *Server) complete(config *genericserver.Config) (*genericserver.GenericAPIServer, error) {
	authn := options.NewDelegatingAuthenticationOptions()
	authn.RemoteKubeConfigFile = s.options.Kubeconfig
	if err := authn.ApplyTo(&config.Authentication, config.SecureServing, nil); err != nil {
		return nil, err
	}
	authz := options.NewDelegatingAuthorizationOptions()
	authz.RemoteKubeConfigFile = s.options.Kubeconfig
	if err := authz.ApplyTo(&config.Authorization); err != nil {
		return nil, err
	}
	config.ReadyzChecks = append(config.ReadyzChecks, healthz.NamedCheck("front-proxy-ca", frontProxyKnown(config)))
	server, err := config.Complete(nil).New("knit-service", genericserver.NewEmptyDelegate())
	if err != nil {
		return nil, err
	}
	mux := server.Handler.NonGoRestfulMux
	api := newAPI(s.options)
	mux.Handle("/apis/"+Group, http.HandlerFunc(serveGroup))
	mux.Handle("/apis/"+Group+"/"+Version, http.HandlerFunc(serveResources))
	mux.HandlePrefix("/apis/"+Group+"/"+Version+"/", api)
	server.DiscoveryGroupManager.AddGroup(apiGroup())
	if manager := server.AggregatedDiscoveryGroupManager; manager != nil {
		manager.AddGroupVersion(Group, aggregatedVersion())
	}
	return server, nil
}

// frontProxyKnown fails until the authority of kube-apiserver's proxy is
// loaded: before that, every proxied request would count as anonymous.
func frontProxyKnown(config *genericserver.Config) func(*http.Request) error {
	return func(*http.Request) error {
		headers := config.Authentication.RequestHeaderConfig
		if headers == nil || len(headers.CAContentProvider.CurrentCABundleContent()) == 0 {
			return errors.New("the ConfigMap kube-system/extension-apiserver-authentication is not read yet, or has no requestheader-client-ca-file; is the aggregation layer on?")
		}
		return nil
	}
}

// longRunning are the requests whose length is the caller's affair: an upload
// and a call have their own limit, a followed log ends with the build.
func longRunning(_ *http.Request, info *request.RequestInfo) bool {
	if info.APIGroup != Group {
		return false
	}
	upload := info.Resource == resourceSources && info.Verb == "update"
	return upload || info.Subresource == "log" || info.Subresource == subresourceInvoke
}

func codecs() serializer.CodecFactory {
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	scheme.AddUnversionedTypes(schema.GroupVersion{Version: "v1"},
		&metav1.Status{}, &metav1.APIVersions{}, &metav1.APIGroupList{}, &metav1.APIGroup{}, &metav1.APIResourceList{})
	return serializer.NewCodecFactory(scheme)
}
