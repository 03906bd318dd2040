// Package v1alpha1 is the first version of Site, which called replicas "size" and knew no tiers.
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/conversion"

	v1 "plesio.dev/clients/operator/v1"
)

// TierAnnotation keeps what this version has no field for.
const TierAnnotation = "web.plesio.dev/tier"

// GroupVersion of this package's kinds.
var GroupVersion = schema.GroupVersion{Group: "web.plesio.dev", Version: "v1alpha1"}

// AddToScheme makes this package's kinds known to a scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &Site{}, &SiteList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}

// Site as it was.
type Site struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              SiteSpec      `json:"spec,omitempty"`
	Status            v1.SiteStatus `json:"status,omitempty"`
}

// SiteSpec as it was.
type SiteSpec struct {
	Host       string `json:"host"`
	Image      string `json:"image,omitempty"`
	Size       int32  `json:"size,omitempty"`
	SecretName string `json:"secretName,omitempty"`
}

// SiteList is a list of them.
type SiteList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Site `json:"items"`
}

// ConvertTo writes the stored version.
func (s *Site) ConvertTo(hub conversion.Hub) error {
	out := hub.(*v1.Site)
	s.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	out.Spec = v1.SiteSpec{Host: s.Spec.Host, Image: s.Spec.Image, Replicas: s.Spec.Size, SecretName: s.Spec.SecretName, Tier: s.Annotations[TierAnnotation]}
	delete(out.Annotations, TierAnnotation)
	out.Status = s.Status
	return nil
}

// ConvertFrom reads the stored version.
func (s *Site) ConvertFrom(hub conversion.Hub) error {
	in := hub.(*v1.Site)
	in.ObjectMeta.DeepCopyInto(&s.ObjectMeta)
	s.Spec = SiteSpec{Host: in.Spec.Host, Image: in.Spec.Image, Size: in.Spec.Replicas, SecretName: in.Spec.SecretName}
	if in.Spec.Tier != "" {
		if s.Annotations == nil {
			s.Annotations = map[string]string{}
		}
		s.Annotations[TierAnnotation] = in.Spec.Tier
	}
	s.Status = in.Status
	return nil
}

// DeepCopyObject is a copy that shares nothing.
func (s *Site) DeepCopyObject() runtime.Object {
	out := *s
	s.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	out.Status = (&v1.Site{Status: s.Status}).DeepCopyObject().(*v1.Site).Status
	return &out
}

// DeepCopyObject is a copy that shares nothing.
func (l *SiteList) DeepCopyObject() runtime.Object {
	out := *l
	l.ListMeta.DeepCopyInto(&out.ListMeta)
	if l.Items != nil {
		out.Items = make([]Site, len(l.Items))
		for i := range l.Items {
			out.Items[i] = *l.Items[i].DeepCopyObject().(*Site)
		}
	}
	return &out
}
