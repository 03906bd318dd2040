package main

import (
	"context"
	"fmt"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

var identitySteps = []step{
	{"TokenRequest, and what its token may do", tokens},
	{"impersonation", impersonation},
	{"reviews", reviews},
}

func tokens(ctx context.Context, w *world) error {
	accounts := w.client.CoreV1().ServiceAccounts(w.namespace)
	if _, err := accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "bot"}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	seconds := int64(3600)
	token, err := accounts.CreateToken(ctx, "bot", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	config := rest.AnonymousClientConfig(w.config)
	config.BearerToken = token.Status.Token
	bot, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	_, err = bot.CoreV1().ConfigMaps(w.namespace).List(ctx, metav1.ListOptions{})
	want := fmt.Sprintf(`configmaps is forbidden: User "system:serviceaccount:%s:bot" cannot list resource "configmaps" in API group "" in the namespace "%s"`, w.namespace, w.namespace)
	if !apierrors.IsForbidden(err) || err.Error() != want {
		return fmt.Errorf("before it was allowed: %v", err)
	}
	subject := []rbacv1.Subject{{Kind: "ServiceAccount", Name: "bot", Namespace: w.namespace}}
	if _, err := w.client.RbacV1().RoleBindings(w.namespace).Create(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "bot"}, Subjects: subject,
		RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "view"}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	// An authorizer may learn of a binding by a watch, and so a little later.
	if err := until(ctx, "the binding to count", func() (bool, error) {
		_, err := bot.CoreV1().ConfigMaps(w.namespace).List(ctx, metav1.ListOptions{})
		if apierrors.IsForbidden(err) {
			return false, nil
		}
		return err == nil, err
	}); err != nil {
		return err
	}
	review, err := w.client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token.Status.Token}}, metav1.CreateOptions{})
	if err != nil || !review.Status.Authenticated || review.Status.User.Username != "system:serviceaccount:"+w.namespace+":bot" {
		return fmt.Errorf("review: %v %+v", err, review.Status)
	}
	if err := accounts.Delete(ctx, "bot", metav1.DeleteOptions{}); err != nil {
		return err
	}
	return until(ctx, "the end of the token", func() (bool, error) {
		_, err = bot.CoreV1().ConfigMaps(w.namespace).List(ctx, metav1.ListOptions{})
		return apierrors.IsUnauthorized(err), nil
	})
}

func impersonation(ctx context.Context, w *world) error {
	as := func(config rest.ImpersonationConfig) (*authenticationv1.SelfSubjectReview, error) {
		own := rest.CopyConfig(w.config)
		own.Impersonate = config
		client, err := kubernetes.NewForConfig(own)
		if err != nil {
			return nil, err
		}
		return client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	}
	review, err := as(rest.ImpersonationConfig{UserName: "carol", UID: "7", Groups: []string{"people"}, Extra: map[string][]string{"Some/Where": {"x", "y"}}})
	if err != nil {
		return err
	}
	user := review.Status.UserInfo
	return equal("who", fmt.Sprintf("%s %s %v %v", user.Username, user.UID, user.Groups, user.Extra), "carol 7 [people system:authenticated] map[some/where:[x y]]")
}

func reviews(ctx context.Context, w *world) error {
	access, err := w.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: "nobody", ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: w.namespace, Verb: "get", Resource: "pods"}}}, metav1.CreateOptions{})
	if err != nil || access.Status.Allowed {
		return fmt.Errorf("nobody: %v %+v", err, access.Status)
	}
	own, err := w.client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: "/metrics", Verb: "get"}}}, metav1.CreateOptions{})
	if err != nil || !own.Status.Allowed {
		return fmt.Errorf("the administrator: %v %+v", err, own.Status)
	}
	rules, err := w.client.AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: w.namespace}}, metav1.CreateOptions{})
	if err != nil || !strings.Contains(fmt.Sprint(rules.Status.ResourceRules), "[*] [*] [*]") {
		return fmt.Errorf("rules: %v %+v", err, rules)
	}
	return nil
}
