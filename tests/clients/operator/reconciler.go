package main

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	appsapply "k8s.io/client-go/applyconfigurations/apps/v1"
	coreapply "k8s.io/client-go/applyconfigurations/core/v1"
	metaapply "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "plesio.dev/clients/operator/v1"
)

const (
	finalizer  = "web.plesio.dev/ledger"
	fieldOwner = client.FieldOwner("site-operator")
	// secretIndex finds the sites that name a Secret.
	secretIndex = ".spec.secretName"
	// secretVersion on the pods' template is the version of the Secret they started with.
	secretVersion = "web.plesio.dev/secret-version"
	// ledger is a ConfigMap that no owner reference can reach: the finalizer strikes a site off it.
	ledgerName = "site-ledger"
)

// siteReconciler makes of each Site a Deployment (server-side apply), a Service (create or update), a line in a
// ledger elsewhere (finalizer), a status and Events.
type siteReconciler struct {
	client.Client
	ledgerNamespace string
	recorder        events.EventRecorder
}

func (r *siteReconciler) register(ctx context.Context, manager ctrl.Manager) error {
	index := func(object client.Object) []string {
		if name := object.(*v1.Site).Spec.SecretName; name != "" {
			return []string{name}
		}
		return nil
	}
	if err := manager.GetFieldIndexer().IndexField(ctx, &v1.Site{}, secretIndex, index); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(manager).
		Named(controllerName).
		For(&v1.Site{}).
		Owns(&appsv1.Deployment{}).
		Owns(&corev1.Service{}).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.sitesOfSecret), builder.OnlyMetadata).
		Complete(r)
}

func (r *siteReconciler) sitesOfSecret(ctx context.Context, secret client.Object) []reconcile.Request {
	var sites v1.SiteList
	if err := r.List(ctx, &sites, client.InNamespace(secret.GetNamespace()), client.MatchingFields{secretIndex: secret.GetName()}); err != nil {
		return nil
	}
	requests := make([]reconcile.Request, len(sites.Items))
	for i := range sites.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&sites.Items[i])
	}
	return requests
}

func (r *siteReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var site v1.Site
	if err := r.Get(ctx, request.NamespacedName, &site); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !site.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, r.finish(ctx, &site)
	}
	if controllerutil.AddFinalizer(&site, finalizer) {
		if err := r.Update(ctx, &site); err != nil {
			return ctrl.Result{}, ignoreConflict(err)
		}
	}
	if err := r.enter(ctx, &site, true); err != nil {
		return ctrl.Result{}, fmt.Errorf("ledger: %w", err)
	}
	if err := r.applyDeployment(ctx, &site); err != nil {
		return ctrl.Result{}, fmt.Errorf("deployment: %w", err)
	}
	if err := r.ensureService(ctx, &site); err != nil {
		return ctrl.Result{}, fmt.Errorf("service: %w", err)
	}
	return ctrl.Result{}, r.report(ctx, &site)
}

// finish strikes the site off the ledger and lets it go.
func (r *siteReconciler) finish(ctx context.Context, site *v1.Site) error {
	if !controllerutil.ContainsFinalizer(site, finalizer) {
		return nil
	}
	if err := r.enter(ctx, site, false); err != nil {
		return err
	}
	before := site.DeepCopyObject().(*v1.Site)
	controllerutil.RemoveFinalizer(site, finalizer)
	return client.IgnoreNotFound(r.Patch(ctx, site, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})))
}

// enter writes a site into the ledger, or strikes it off, by a merge patch.
func (r *siteReconciler) enter(ctx context.Context, site *v1.Site, present bool) error {
	key := site.Namespace + "." + site.Name
	ledger := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: ledgerName, Namespace: r.ledgerNamespace}}
	err := r.Get(ctx, client.ObjectKeyFromObject(ledger), ledger)
	if apierrors.IsNotFound(err) && present {
		ledger.Data = map[string]string{key: site.Spec.Host}
		return r.Create(ctx, ledger)
	}
	if err != nil {
		return client.IgnoreNotFound(err)
	}
	if _, written := ledger.Data[key]; written == present {
		return nil
	}
	before := ledger.DeepCopy()
	if present {
		if ledger.Data == nil {
			ledger.Data = map[string]string{}
		}
		ledger.Data[key] = site.Spec.Host
	} else {
		delete(ledger.Data, key)
	}
	return r.Patch(ctx, ledger, client.MergeFrom(before))
}

func (r *siteReconciler) applyDeployment(ctx context.Context, site *v1.Site) error {
	labels := map[string]string{"web.plesio.dev/site": site.Name}
	version := ""
	if site.Spec.SecretName != "" {
		// Metadata alone: the operator never reads what a Secret holds.
		secret := &metav1.PartialObjectMetadata{}
		secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
		err := r.Get(ctx, types.NamespacedName{Namespace: site.Namespace, Name: site.Spec.SecretName}, secret)
		if client.IgnoreNotFound(err) != nil {
			return err
		}
		version = secret.ResourceVersion
	}
	owner := metaapply.OwnerReference().WithAPIVersion(v1.GroupVersion.String()).WithKind("Site").
		WithName(site.Name).WithUID(site.UID).WithController(true).WithBlockOwnerDeletion(true)
	deployment := appsapply.Deployment(site.Name, site.Namespace).WithLabels(labels).WithOwnerReferences(owner).
		WithSpec(appsapply.DeploymentSpec().WithReplicas(site.Spec.Replicas).
			WithSelector(metaapply.LabelSelector().WithMatchLabels(labels)).
			WithTemplate(coreapply.PodTemplateSpec().WithLabels(labels).
				WithAnnotations(map[string]string{secretVersion: version}).
				WithSpec(coreapply.PodSpec().WithContainers(coreapply.Container().WithName("web").WithImage(site.Spec.Image).
					WithPorts(coreapply.ContainerPort().WithName("http").WithContainerPort(80))))))
	return r.Apply(ctx, deployment, fieldOwner, client.ForceOwnership)
}

func (r *siteReconciler) ensureService(ctx context.Context, site *v1.Site) error {
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: site.Name, Namespace: site.Namespace}}
	result, err := controllerutil.CreateOrUpdate(ctx, r.Client, service, func() error {
		service.Spec.Selector = map[string]string{"web.plesio.dev/site": site.Name}
		service.Spec.Ports = []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80, TargetPort: intstr.FromString("http")}}
		return controllerutil.SetControllerReference(site, service, r.Scheme())
	})
	if err == nil && result == controllerutil.OperationResultCreated {
		r.recorder.Eventf(site, service, corev1.EventTypeNormal, "Exposed", "Expose", "made Service %s", service.Name)
	}
	return ignoreConflict(err)
}

// report writes the status, only if it changed.
func (r *siteReconciler) report(ctx context.Context, site *v1.Site) error {
	var deployment appsv1.Deployment
	if err := r.Get(ctx, client.ObjectKeyFromObject(site), &deployment); err != nil {
		return client.IgnoreNotFound(err)
	}
	before := site.DeepCopyObject().(*v1.Site)
	site.Status.ObservedGeneration = site.Generation
	site.Status.ReadyReplicas = deployment.Status.ReadyReplicas
	condition := metav1.Condition{Type: "Ready", Status: metav1.ConditionFalse, Reason: "Waiting", ObservedGeneration: site.Generation,
		Message: fmt.Sprintf("%d of %d replicas are ready", deployment.Status.ReadyReplicas, site.Spec.Replicas)}
	if deployment.Status.ReadyReplicas >= site.Spec.Replicas {
		condition.Status, condition.Reason = metav1.ConditionTrue, "AllReady"
	}
	became := meta.SetStatusCondition(&site.Status.Conditions, condition) && condition.Status == metav1.ConditionTrue
	if err := r.Status().Patch(ctx, site, client.MergeFrom(before)); err != nil {
		return client.IgnoreNotFound(err)
	}
	if became && !meta.IsStatusConditionTrue(before.Status.Conditions, "Ready") {
		r.recorder.Eventf(site, nil, corev1.EventTypeNormal, "Ready", "Reconcile", "%s", condition.Message)
	}
	return nil
}

// ignoreConflict lets the event that won the race bring the object again.
func ignoreConflict(err error) error {
	if apierrors.IsConflict(err) {
		return nil
	}
	return err
}
