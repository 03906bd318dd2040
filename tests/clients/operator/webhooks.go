package main

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	v1 "plesio.dev/clients/operator/v1"
)

const (
	defaultImage = "nginx:1.27"
	// keepAnnotation on a Site forbids its deletion.
	keepAnnotation = "web.plesio.dev/keep"
)

// siteWebhook fills in what people leave out, and refuses what no schema can say.
type siteWebhook struct{}

func registerWebhooks(manager ctrl.Manager) error {
	return ctrl.NewWebhookManagedBy(manager, &v1.Site{}).WithDefaulter(siteWebhook{}).WithValidator(siteWebhook{}).Complete()
}

func (siteWebhook) Default(ctx context.Context, site *v1.Site) error {
	if site.Spec.Image == "" {
		site.Spec.Image = defaultImage
	}
	request, err := admission.RequestFromContext(ctx)
	if err != nil {
		return err
	}
	if site.Annotations == nil {
		site.Annotations = map[string]string{}
	}
	if request.Operation == "CREATE" {
		site.Annotations["web.plesio.dev/created-by"] = request.UserInfo.Username
	}
	return nil
}

func (siteWebhook) ValidateCreate(_ context.Context, site *v1.Site) (admission.Warnings, error) {
	if strings.HasSuffix(site.Spec.Image, ":latest") {
		return admission.Warnings{"an image by :latest changes under your feet"}, refuseHost(site)
	}
	return nil, refuseHost(site)
}

func (siteWebhook) ValidateUpdate(_ context.Context, old, site *v1.Site) (admission.Warnings, error) {
	if old.Spec.Tier == "large" && site.Spec.Tier != "large" && site.Spec.Replicas > 5 {
		return nil, fmt.Errorf("leave the tier large with 5 replicas at most, not %d", site.Spec.Replicas)
	}
	return nil, refuseHost(site)
}

func (siteWebhook) ValidateDelete(_ context.Context, site *v1.Site) (admission.Warnings, error) {
	if _, kept := site.Annotations[keepAnnotation]; kept {
		return nil, fmt.Errorf("site %q is kept", site.Name)
	}
	return nil, nil
}

func refuseHost(site *v1.Site) error {
	if !strings.HasSuffix(site.Spec.Host, ".forbidden.example") {
		return nil
	}
	problem := field.Invalid(field.NewPath("spec", "host"), site.Spec.Host, "lies in a forbidden domain")
	return apierrors.NewInvalid(v1.GroupVersion.WithKind("Site").GroupKind(), site.Name, field.ErrorList{problem})
}
