package service

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/utils/ptr"
)

const (
	fieldOwner = "knit"
	// registerEvery is how often certificate and APIService are looked after.
	registerEvery = 10 * time.Minute
	// registerRetry is the wait after a failure.
	registerRetry = 5 * time.Second
)

// keepRegistered looks after the certificate and the APIService until ctx ends.
// A failure is logged and tried again: the server goes on serving meanwhile.
func (s *Server) keepRegistered(ctx context.Context) error {
	for {
		wait := registerEvery
		if err := s.register(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "The extension API server is not registered; trying again", "after", registerRetry)
			wait = registerRetry
		}
		if sleep(ctx, wait) != nil {
			return nil
		}
	}
}

func (s *Server) register(ctx context.Context) error {
	if err := s.cert.ensure(ctx); err != nil {
		return err
	}
	service := makeAPIService(s.options.Namespace, s.options.Name, s.options.Port, s.cert.ca())
	body, err := json.Marshal(service)
	if err != nil {
		return fmt.Errorf("encode APIService %s: %w", service.Name, err)
	}
	_, err = s.options.Aggregator.ApiregistrationV1().APIServices().Patch(ctx, service.Name, types.ApplyPatchType, body,
		metav1.PatchOptions{FieldManager: fieldOwner, Force: ptr.To(true)})
	if err != nil {
		return fmt.Errorf("apply APIService %s (does the control plane have the right to?): %w", service.Name, err)
	}
	return nil
}

func makeAPIService(namespace, name string, port int32, ca []byte) *apiregistration.APIService {
	return &apiregistration.APIService{
		TypeMeta: metav1.TypeMeta{Kind: "APIService", APIVersion: apiregistration.SchemeGroupVersion.String()},
		ObjectMeta: metav1.ObjectMeta{
			Name:   Version + "." + Group,
			Labels: map[string]string{"app.kubernetes.io/part-of": "knit"},
		},
		Spec: apiregistration.APIServiceSpec{
			Group: Group, Version: Version,
			GroupPriorityMinimum: 1000, VersionPriority: 15,
			CABundle: ca,
			Service:  &apiregistration.ServiceReference{Namespace: namespace, Name: name, Port: &port},
		},
	}
}
