package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	v1 "plesio.dev/clients/operator/v1"
	"plesio.dev/clients/operator/v1alpha1"
)

const patience = 20 * time.Second

// suite is what every test uses.
var suite struct {
	context   context.Context
	config    *rest.Config
	client    client.WithWatch
	wire      *recorder
	warnings  *warnings
	namespace string
	// controllers tells whether the cluster has its own: envtest's has none, so the suite plays the Deployment's.
	controllers bool
	// stopFirst ends the first operator and waits until it has ended.
	stopFirst func()
}

// recorder remembers what goes over the wire: method, path, content type of the body, accepted types.
type recorder struct {
	sync.Mutex
	requests []string
}

func (r *recorder) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		r.Lock()
		line := fmt.Sprintf("%s %s?%s body=%s accept=%s", request.Method, request.URL.Path, request.URL.RawQuery, request.Header.Get("Content-Type"), request.Header.Get("Accept"))
		r.requests = append(r.requests, line)
		r.Unlock()
		return next.RoundTrip(request)
	})
}

// saw tells whether one request has all of these in its line.
func (r *recorder) saw(parts ...string) bool {
	r.Lock()
	defer r.Unlock()
	return slices.ContainsFunc(r.requests, func(line string) bool {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				return false
			}
		}
		return true
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// warnings keeps the Warning headers.
type warnings struct {
	sync.Mutex
	texts []string
}

func (w *warnings) HandleWarningHeader(_ int, _ string, text string) {
	w.Lock()
	defer w.Unlock()
	w.texts = append(w.texts, text)
}

func (w *warnings) has(text string) bool {
	w.Lock()
	defer w.Unlock()
	return slices.Contains(w.texts, text)
}

func TestMain(m *testing.M) {
	ctrl.SetLogger(zap.New(zap.UseDevMode(true), zap.WriteTo(logFile())))
	code, err := run(m)
	if err != nil {
		fmt.Println("FAIL", err)
		code = 1
	}
	os.Exit(code)
}

func logFile() *os.File {
	if path := os.Getenv("OPERATOR_LOG"); path != "" {
		if file, err := os.Create(path); err == nil {
			return file
		}
	}
	file, _ := os.Open(os.DevNull)
	return file
}

func run(m *testing.M) (int, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	environment := &envtest.Environment{
		Scheme:                newScheme(),
		CRDDirectoryPaths:     []string{"config/crd"},
		ErrorIfCRDPathMissing: true,
		WebhookInstallOptions: envtest.WebhookInstallOptions{Paths: []string{"config/webhook"}},
	}
	restConfig, err := environment.Start()
	if err != nil {
		return 0, fmt.Errorf("the environment did not start: %w", err)
	}
	defer func() {
		cancel()
		if err := environment.Stop(); err != nil {
			fmt.Println("the environment did not stop:", err)
		}
	}()
	suite.context, suite.wire, suite.warnings = ctx, &recorder{}, &warnings{}
	suite.config = rest.CopyConfig(restConfig)
	suite.config.Wrap(suite.wire.wrap)
	suite.config.WarningHandler = suite.warnings
	if suite.client, err = client.NewWithWatch(suite.config, client.Options{Scheme: environment.Scheme}); err != nil {
		return 0, err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "operator-"}}
	if err := suite.client.Create(ctx, namespace); err != nil {
		return 0, err
	}
	suite.namespace = namespace.Name
	suite.controllers = eventually(2*time.Second, func() error {
		return suite.client.Get(ctx, client.ObjectKey{Namespace: namespace.Name, Name: "default"}, &corev1.ServiceAccount{})
	}) == nil
	options := environment.WebhookInstallOptions
	server := webhook.NewServer(webhook.Options{Host: options.LocalServingHost, Port: options.LocalServingPort, CertDir: options.LocalServingCertDir})
	stop, ready, err := start(ctx, server)
	if err != nil {
		return 0, err
	}
	suite.stopFirst = stop
	select {
	case <-ready:
	case <-time.After(patience):
		return 0, fmt.Errorf("no leader was elected in %s", patience)
	}
	probe := func() error { return server.StartedChecker()(nil) }
	if err := eventually(patience, probe); err != nil {
		return 0, fmt.Errorf("the webhooks do not serve: %w", err)
	}
	return m.Run(), nil
}

// start runs one replica of the operator; ready is closed when it leads.
func start(parent context.Context, server webhook.Server) (stop func(), ready <-chan struct{}, err error) {
	ctx, cancel := context.WithCancel(parent)
	manager, err := newManager(ctx, suite.config, managerOptions{namespace: suite.namespace, webhooks: server, sharedName: true})
	if err != nil {
		cancel()
		return nil, nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := manager.Start(ctx); err != nil && parent.Err() == nil {
			fmt.Println("an operator ended:", err)
		}
	}()
	return func() { cancel(); <-ended }, manager.Elected(), nil
}

// eventually asks again until there is no error, or says the last one.
func eventually(within time.Duration, ask func() error) error {
	until := time.Now().Add(within)
	for {
		err := ask()
		if err == nil || time.Now().After(until) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wait(t *testing.T, ask func() error) {
	t.Helper()
	must(t, eventually(patience, ask))
}

func newSite(name string) *v1.Site {
	return &v1.Site{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: suite.namespace}, Spec: v1.SiteSpec{Host: name + ".example.org", Replicas: 2}}
}

func key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: suite.namespace, Name: name}
}

// causes are the messages of a refusal's details.
func causes(err error) []string {
	var found []string
	if status, ok := err.(apierrors.APIStatus); ok && status.Status().Details != nil {
		for _, cause := range status.Status().Details.Causes {
			found = append(found, fmt.Sprintf("%s %s: %s", cause.Type, cause.Field, cause.Message))
		}
	}
	return found
}

func TestASiteBecomesADeploymentAndAService(t *testing.T) {
	ctx := suite.context
	site := newSite("whole")
	must(t, suite.client.Create(ctx, site))
	if site.Spec.Image != defaultImage || site.Annotations["web.plesio.dev/created-by"] == "" {
		t.Fatalf("the mutating webhook was not asked: %+v %v", site.Spec, site.Annotations)
	}
	var deployment appsv1.Deployment
	wait(t, func() error { return suite.client.Get(ctx, key("whole"), &deployment) })
	owner := metav1.GetControllerOf(&deployment)
	if owner == nil || owner.UID != site.UID || owner.Kind != "Site" || *deployment.Spec.Replicas != 2 {
		t.Fatalf("owner %+v, replicas %d", owner, *deployment.Spec.Replicas)
	}
	if !slices.ContainsFunc(deployment.ManagedFields, func(f metav1.ManagedFieldsEntry) bool {
		return f.Manager == "site-operator" && f.Operation == metav1.ManagedFieldsOperationApply
	}) {
		t.Fatalf("managed fields: %+v", deployment.ManagedFields)
	}
	var service corev1.Service
	wait(t, func() error { return suite.client.Get(ctx, key("whole"), &service) })
	if service.Spec.ClusterIP == "" || service.Spec.Ports[0].TargetPort.StrVal != "http" {
		t.Fatalf("service %+v", service.Spec)
	}
	if !suite.controllers {
		deployment.Status = appsv1.DeploymentStatus{ObservedGeneration: deployment.Generation, Replicas: 2, UpdatedReplicas: 2, ReadyReplicas: 2, AvailableReplicas: 2}
		must(t, suite.client.Status().Update(ctx, &deployment))
	}
	wait(t, func() error {
		must(t, suite.client.Get(ctx, key("whole"), site))
		condition := meta.FindStatusCondition(site.Status.Conditions, "Ready")
		if condition == nil || condition.Status != metav1.ConditionTrue || site.Status.ReadyReplicas != 2 || site.Status.ObservedGeneration != site.Generation {
			return fmt.Errorf("status %+v", site.Status)
		}
		return nil
	})
	if !controllerutil.ContainsFinalizer(site, finalizer) {
		t.Fatalf("finalizers %v", site.Finalizers)
	}
}

func TestEventsAreRecorded(t *testing.T) {
	wait(t, func() error {
		var list eventsv1.EventList
		must(t, suite.client.List(suite.context, &list, client.InNamespace(suite.namespace)))
		seen := map[string]bool{}
		for _, event := range list.Items {
			if event.Regarding.Kind == "Site" && event.Regarding.Name == "whole" && event.ReportingController == "site-operator" {
				seen[event.Reason+"/"+event.Action] = true
			}
		}
		if !seen["Exposed/Expose"] || !seen["Ready/Reconcile"] {
			return fmt.Errorf("events %v", seen)
		}
		return nil
	})
	var old corev1.EventList
	must(t, suite.client.List(suite.context, &old, client.InNamespace(suite.namespace), client.MatchingFields{"involvedObject.name": "whole", "reason": "Ready"}))
	if len(old.Items) == 0 || old.Items[0].InvolvedObject.Kind != "Site" {
		t.Fatalf("by the older group: %+v", old.Items)
	}
}

func TestBuiltInKindsTravelAsProtobuf(t *testing.T) {
	for _, row := range [][]string{
		{"POST", "/services?", "body=application/vnd.kubernetes.protobuf "},
		{"POST", "/leases?", "body=application/vnd.kubernetes.protobuf "},
		{"GET /apis/apps/v1/deployments?", "watch=true", "accept=application/vnd.kubernetes.protobuf"},
		{"GET /api/v1/secrets?", "watch=true", "accept=application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"},
		{"PATCH", "/deployments/whole?", "fieldManager=site-operator&force=true", "body=application/apply-patch"},
		{"GET /apis/web.plesio.dev/v1/sites?", "watch=true", "accept=application/json"},
	} {
		if !suite.wire.saw(row...) {
			t.Errorf("no request has all of %q", row)
		}
	}
	if t.Failed() {
		t.Log(strings.Join(suite.wire.requests, "\n"))
	}
}

func TestRulesOfTheSchema(t *testing.T) {
	ctx := suite.context
	refused := func(name string, change func(*v1.Site), wanted string) {
		t.Helper()
		site := newSite(name)
		change(site)
		err := suite.client.Create(ctx, site)
		if !apierrors.IsInvalid(err) || !slices.Contains(causes(err), wanted) {
			t.Errorf("wanted %q, got %v: %q", wanted, err, causes(err))
		}
	}
	refused("many", func(s *v1.Site) { s.Spec.Replicas = 11 }, `FieldValueInvalid spec.replicas: Invalid value: the tier small has 10 replicas at most`)
	refused("flat", func(s *v1.Site) { s.Spec.Host = "flat" }, `FieldValueInvalid spec.host: Invalid value: "flat": host wants a dot`)
	refused("odd", func(s *v1.Site) { s.Spec.Tier = "odd" }, `FieldValueNotSupported spec.tier: Unsupported value: "odd": supported values: "small", "large"`)
	site := newSite("kind")
	site.Spec.Replicas, site.Spec.Tier = 11, "large"
	must(t, suite.client.Create(ctx, site))
	err := eventually(patience, func() error {
		must(t, suite.client.Get(ctx, key("kind"), site))
		site.Spec.Host = "other.example.org"
		err := suite.client.Update(ctx, site)
		if apierrors.IsConflict(err) {
			return err
		}
		if !slices.Contains(causes(err), `FieldValueInvalid spec.host: Invalid value: "other.example.org": host is for good`) {
			t.Errorf("an immutable field moved: %v %q", err, causes(err))
		}
		return nil
	})
	must(t, err)
}

func TestValidatingWebhook(t *testing.T) {
	ctx := suite.context
	site := newSite("forbidden")
	site.Spec.Host = "a.forbidden.example"
	err := suite.client.Create(ctx, site)
	if !apierrors.IsInvalid(err) {
		t.Fatalf("wanted Invalid, got %v", err)
	}
	want := `admission webhook "validate.site.web.plesio.dev" denied the request: Site.web.plesio.dev "forbidden" is invalid: spec.host: Invalid value: "a.forbidden.example": lies in a forbidden domain`
	if err.Error() != want {
		t.Errorf("wanted %q, got %q", want, err)
	}
	site = newSite("latest")
	site.Spec.Image = "nginx:latest"
	must(t, suite.client.Create(ctx, site))
	if !suite.warnings.has("an image by :latest changes under your feet") {
		t.Errorf("warnings %q", suite.warnings.texts)
	}
	kept := newSite("kept")
	kept.Annotations = map[string]string{keepAnnotation: ""}
	must(t, suite.client.Create(ctx, kept))
	err = suite.client.Delete(ctx, kept)
	if want := `admission webhook "validate.site.web.plesio.dev" denied the request: site "kept" is kept`; !apierrors.IsForbidden(err) || err.Error() != want {
		t.Errorf("wanted %q, got %v", want, err)
	}
	dry := newSite("dry")
	must(t, suite.client.Create(ctx, dry, client.DryRunAll))
	if dry.Spec.Image != defaultImage {
		t.Errorf("a dry run does not ask the webhook")
	}
	if err := suite.client.Get(ctx, key("dry"), dry); !apierrors.IsNotFound(err) {
		t.Errorf("a dry run left something: %v", err)
	}
}

func TestVersionsAreConverted(t *testing.T) {
	ctx := suite.context
	old := &v1alpha1.Site{ObjectMeta: metav1.ObjectMeta{Name: "old", Namespace: suite.namespace, Annotations: map[string]string{v1alpha1.TierAnnotation: "large"}},
		Spec: v1alpha1.SiteSpec{Host: "old.example.org", Size: 12, Image: "nginx:1.0"}}
	watcher, err := suite.client.Watch(ctx, &v1alpha1.SiteList{}, client.InNamespace(suite.namespace))
	must(t, err)
	defer watcher.Stop()
	must(t, suite.client.Create(ctx, old))
	if old.Spec.Size != 12 || old.Annotations[v1alpha1.TierAnnotation] != "large" {
		t.Fatalf("what came back: %+v %v", old.Spec, old.Annotations)
	}
	if !suite.warnings.has("web.plesio.dev/v1alpha1 Site is old; use v1") {
		t.Errorf("no warning of the deprecation: %q", suite.warnings.texts)
	}
	var site v1.Site
	must(t, suite.client.Get(ctx, key("old"), &site))
	if site.Spec.Replicas != 12 || site.Spec.Tier != "large" || site.Annotations[v1alpha1.TierAnnotation] != "" {
		t.Fatalf("as the stored version: %+v %v", site.Spec, site.Annotations)
	}
	var list v1alpha1.SiteList
	must(t, suite.client.List(ctx, &list, client.InNamespace(suite.namespace)))
	if i := slices.IndexFunc(list.Items, func(s v1alpha1.Site) bool { return s.Name == "kind" }); i < 0 || list.Items[i].Spec.Size != 11 {
		t.Fatalf("as a list of the old version: %+v", list.Items)
	}
	timeout := time.After(patience)
	for {
		select {
		case event := <-watcher.ResultChan():
			if seen, ok := event.Object.(*v1alpha1.Site); ok && seen.Name == "old" {
				if seen.Spec.Size != 12 {
					t.Fatalf("in a watch: %+v", seen.Spec)
				}
				return
			}
		case <-timeout:
			t.Fatal("the watch of the old version is silent")
		}
	}
}

func TestSecretsAreWatchedByMetadataAlone(t *testing.T) {
	ctx := suite.context
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "certificate", Namespace: suite.namespace}, StringData: map[string]string{"a": "1"}}
	must(t, suite.client.Create(ctx, secret))
	site := newSite("secretive")
	site.Spec.SecretName = "certificate"
	must(t, suite.client.Create(ctx, site))
	settled := func() error {
		var deployment appsv1.Deployment
		if err := suite.client.Get(ctx, key("secretive"), &deployment); err != nil {
			return err
		}
		if version := deployment.Spec.Template.Annotations[secretVersion]; version != secret.ResourceVersion {
			return fmt.Errorf("the pods know version %q, not %q", version, secret.ResourceVersion)
		}
		return nil
	}
	wait(t, settled)
	secret.StringData = map[string]string{"a": "2"}
	must(t, suite.client.Update(ctx, secret))
	wait(t, settled)
	bare := &metav1.PartialObjectMetadataList{}
	bare.SetGroupVersionKind(v1.GroupVersion.WithKind("SiteList"))
	must(t, suite.client.List(ctx, bare, client.InNamespace(suite.namespace)))
	if !slices.ContainsFunc(bare.Items, func(m metav1.PartialObjectMetadata) bool { return m.Name == "secretive" }) {
		t.Fatalf("metadata of custom resources: %+v", bare.Items)
	}
}

func TestFieldsThatTheOperatorOwnsComeBack(t *testing.T) {
	ctx := suite.context
	var deployment appsv1.Deployment
	wait(t, func() error { return suite.client.Get(ctx, key("kind"), &deployment) })
	patch := client.RawPatch("application/apply-patch+yaml", []byte(`{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":1}}`))
	target := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "kind", Namespace: suite.namespace}}
	err := suite.client.Patch(ctx, target, patch, client.FieldOwner("somebody"))
	if !apierrors.IsConflict(err) || !strings.Contains(err.Error(), `conflict with "site-operator": .spec.replicas`) {
		t.Fatalf("wanted a conflict, got %v", err)
	}
	must(t, suite.client.Patch(ctx, target, patch, client.FieldOwner("somebody"), client.ForceOwnership))
	wait(t, func() error {
		must(t, suite.client.Get(ctx, key("kind"), &deployment))
		if *deployment.Spec.Replicas != 11 {
			return fmt.Errorf("replicas %d", *deployment.Spec.Replicas)
		}
		return nil
	})
}

func TestScaleAndSelectableFields(t *testing.T) {
	ctx := suite.context
	site := newSite("scaled")
	must(t, suite.client.Create(ctx, site))
	wait(t, func() error {
		scale := &autoscalingv1.Scale{}
		must(t, suite.client.SubResource("scale").Get(ctx, site, scale))
		scale.Spec.Replicas = 3
		return suite.client.SubResource("scale").Update(ctx, site, client.WithSubResourceBody(scale))
	})
	wait(t, func() error {
		var deployment appsv1.Deployment
		if err := suite.client.Get(ctx, key("scaled"), &deployment); err != nil {
			return err
		}
		if *deployment.Spec.Replicas != 3 {
			return fmt.Errorf("replicas %d", *deployment.Spec.Replicas)
		}
		return nil
	})
	var list v1.SiteList
	must(t, suite.client.List(ctx, &list, client.InNamespace(suite.namespace), client.MatchingFields{"spec.host": "scaled.example.org"}))
	if len(list.Items) != 1 || list.Items[0].Name != "scaled" {
		t.Fatalf("by field: %d items", len(list.Items))
	}
}

func TestAFinalizerHoldsASiteUntilItsLineIsStruck(t *testing.T) {
	ctx := suite.context
	line := suite.namespace + ".whole"
	var ledger corev1.ConfigMap
	must(t, suite.client.Get(ctx, key(ledgerName), &ledger))
	if ledger.Data[line] != "whole.example.org" {
		t.Fatalf("ledger %v", ledger.Data)
	}
	must(t, suite.client.Delete(ctx, newSite("whole"), client.PropagationPolicy(metav1.DeletePropagationForeground)))
	wait(t, func() error {
		if err := suite.client.Get(ctx, key("whole"), &v1.Site{}); !apierrors.IsNotFound(err) {
			// Without a garbage collector the foreground's finalizer stays, as in envtest.
			var site v1.Site
			if !suite.controllers && suite.client.Get(ctx, key("whole"), &site) == nil && slices.Equal(site.Finalizers, []string{metav1.FinalizerDeleteDependents}) {
				return nil
			}
			return fmt.Errorf("the site is there: %v", err)
		}
		return nil
	})
	must(t, suite.client.Get(ctx, key(ledgerName), &ledger))
	if _, written := ledger.Data[line]; written {
		t.Fatalf("ledger %v", ledger.Data)
	}
	if !suite.controllers {
		return
	}
	wait(t, func() error {
		if err := suite.client.Get(ctx, key("whole"), &appsv1.Deployment{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the deployment is there: %v", err)
		}
		return nil
	})
}

func TestAnotherReplicaTakesOver(t *testing.T) {
	ctx := suite.context
	var lease coordinationv1.Lease
	must(t, suite.client.Get(ctx, key("site-operator"), &lease))
	first := *lease.Spec.HolderIdentity
	stop, ready, err := start(ctx, nil)
	must(t, err)
	defer stop()
	select {
	case <-ready:
		t.Fatal("two lead")
	case <-time.After(1500 * time.Millisecond):
	}
	suite.stopFirst()
	select {
	case <-ready:
	case <-time.After(patience):
		t.Fatal("nobody took over")
	}
	must(t, suite.client.Get(ctx, key("site-operator"), &lease))
	if *lease.Spec.HolderIdentity == first || *lease.Spec.LeaseTransitions < 1 {
		t.Fatalf("holder %s after %s, %d transitions", *lease.Spec.HolderIdentity, first, *lease.Spec.LeaseTransitions)
	}
	// The webhooks went with the first replica, and their policy is to fail.
	err = suite.client.Create(ctx, newSite("late"))
	if !apierrors.IsInternalError(err) || !strings.Contains(err.Error(), `failed calling webhook "default.site.web.plesio.dev": failed to call webhook: Post "https://`) {
		t.Fatalf("without its webhook: %v", err)
	}
	// What needs no webhook goes on under the new leader: a Deployment that somebody removes comes back.
	var before appsv1.Deployment
	must(t, suite.client.Get(ctx, key("scaled"), &before))
	must(t, suite.client.Delete(ctx, &before, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	wait(t, func() error {
		var after appsv1.Deployment
		if err := suite.client.Get(ctx, key("scaled"), &after); err != nil {
			return err
		}
		if after.UID == before.UID {
			return fmt.Errorf("the same one")
		}
		return nil
	})
}
