package main

import (
	"context"
	"fmt"
	"slices"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/scale"
	"k8s.io/client-go/util/retry"
)

var discoverySteps = []step{
	{"discovery, aggregated and legacy, says the same", discoveries},
	{"RESTMapper and short names", mapping},
	{"OpenAPI v2 and v3", documents},
	{"scale client", scaling},
}

func discoveries(_ context.Context, w *world) error {
	client, err := discovery.NewDiscoveryClientForConfig(w.config)
	if err != nil {
		return err
	}
	version, err := client.ServerVersion()
	if err != nil || version.Major != "1" || version.Minor != "36" {
		return fmt.Errorf("version: %v %+v", err, version)
	}
	_, aggregated, err := client.ServerGroupsAndResources()
	if err != nil {
		return err
	}
	client.UseLegacyDiscovery = true
	_, legacy, err := client.ServerGroupsAndResources()
	if err != nil {
		return err
	}
	a, b := flat(aggregated), flat(legacy)
	if !slices.Equal(a, b) || !slices.Contains(a, "apps/v1 deployments/scale Scale [get patch update]") {
		return fmt.Errorf("aggregated:\n%q\nlegacy:\n%q", a, b)
	}
	preferred, err := client.ServerPreferredNamespacedResources()
	if err != nil || len(preferred) == 0 {
		return fmt.Errorf("preferred: %v", err)
	}
	return first(w.wire.expect("GET /apis?", "accept=application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"), w.wire.expect("GET /apis/apps/v1?"))
}

// flat lists resources with what can be done to them, in order.
func flat(lists []*metav1.APIResourceList) []string {
	var lines []string
	for _, list := range lists {
		for _, r := range list.APIResources {
			verbs := slices.Clone([]string(r.Verbs))
			slices.Sort(verbs)
			lines = append(lines, fmt.Sprintf("%s %s %s %v", list.GroupVersion, r.Name, r.Kind, verbs))
		}
	}
	slices.Sort(lines)
	return lines
}

func mapping(_ context.Context, w *world) error {
	cached := memory.NewMemCacheClient(w.client.Discovery())
	mapper := restmapper.NewShortcutExpander(restmapper.NewDeferredDiscoveryRESTMapper(cached), cached, func(string) {})
	for short, want := range map[string]string{"deploy": "apps/v1, Resource=deployments", "svc": "/v1, Resource=services", "hpa": "autoscaling/v2, Resource=horizontalpodautoscalers", "crd": "apiextensions.k8s.io/v1, Resource=customresourcedefinitions"} {
		resource, err := mapper.ResourceFor(schema.GroupVersionResource{Resource: short})
		if err != nil {
			return err
		}
		if err := equal(short, resource.String(), want); err != nil {
			return err
		}
	}
	found, err := mapper.RESTMapping(schema.GroupKind{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"})
	if err != nil || found.Scope.Name() != meta.RESTScopeNameRoot {
		return fmt.Errorf("scope: %v", err)
	}
	if _, err := mapper.RESTMapping(schema.GroupKind{Group: "none.example", Kind: "Nothing"}); !meta.IsNoMatchError(err) {
		return fmt.Errorf("an unknown kind: %v", err)
	}
	return nil
}

func documents(_ context.Context, w *world) error {
	two, err := w.client.Discovery().OpenAPISchema()
	if err != nil {
		return err
	}
	if n := len(two.Definitions.AdditionalProperties); n < 500 {
		return fmt.Errorf("v2: %d definitions", n)
	}
	paths, err := w.client.Discovery().OpenAPIV3().Paths()
	if err != nil || paths["apis/apps/v1"] == nil || paths["api/v1"] == nil {
		return fmt.Errorf("v3: %v, %d paths", err, len(paths))
	}
	body, err := paths["apis/apps/v1"].Schema("application/json")
	if err != nil || len(body) < 10_000 {
		return fmt.Errorf("a document: %v, %d bytes", err, len(body))
	}
	return nil
}

func scaling(ctx context.Context, w *world) error {
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(w.client.Discovery()))
	scales, err := scale.NewForConfig(w.config, mapper, dynamic.LegacyAPIPathResolverFunc, scale.NewDiscoveryScaleKindResolver(w.client.Discovery()))
	if err != nil {
		return err
	}
	resource := schema.GroupResource{Group: "apps", Resource: "deployments"}
	if _, err := scales.Scales(w.namespace).Get(ctx, resource, "nobody", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return fmt.Errorf("nobody's scale: %v", err)
	}
	body := []byte(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":0,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"nginx:1"}]}}}}`)
	if _, err := w.client.AppsV1().Deployments(w.namespace).Patch(ctx, "d", types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: "go"}); err != nil {
		return err
	}
	var got *autoscalingv1.Scale
	// The Deployment's controller writes too.
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if got, err = scales.Scales(w.namespace).Get(ctx, resource, "d", metav1.GetOptions{}); err != nil {
			return err
		}
		got.Spec.Replicas = 2
		got, err = scales.Scales(w.namespace).Update(ctx, resource, got, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return err
	}
	return first(equal("replicas", got.Spec.Replicas, 2), equal("selector", got.Status.Selector, "a=b"))
}
