package endpoint

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	acmev1 "github.com/cert-manager/cert-manager/pkg/apis/acme/v1"
	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// judgeCertificate says how the certificate of the endpoint stands: the first rule
// that has something to say counts.
func (s *Scope) judgeCertificate() verdict {
	if told, ok := s.unusable(); ok {
		return told
	}
	for _, rule := range []func(*Scope) (verdict, bool){
		ruleInstalled, ruleIssuer, ruleRefused, ruleCreated, ruleClock, ruleExpired, ruleOverdue, ruleInForce,
	} {
		if told, ok := rule(s); ok {
			return told
		}
	}
	return s.judgeIssuance()
}

func ruleInstalled(s *Scope) (verdict, bool) {
	return bad(v1alpha1.ReasonCertManagerMissing, "cert-manager is not installed, so nobody issues a certificate for %s", s.agent.Spec.Endpoint.Host), !s.apis[CertManager]
}

func ruleIssuer(s *Scope) (verdict, bool) {
	switch {
	case s.issuerRef == nil:
		return bad(v1alpha1.ReasonIssuerNotFound, "no issuer is named; set spec.endpoint.issuerRef, or the operator's --endpoint-issuer"), true
	case s.issuer == nil:
		return bad(v1alpha1.ReasonIssuerNotFound, "%s %q does not exist", s.issuerRef.Kind, s.issuerRef.Name), true
	case !s.issuer.ready && !s.inForce():
		return bad(v1alpha1.ReasonIssuerNotReady, "%s %q is not Ready: %s", s.issuerRef.Kind, s.issuerRef.Name, tidy(s.issuer.message)), true
	}
	return verdict{}, false
}

func ruleRefused(s *Scope) (verdict, bool) {
	message, refused := s.refused[partCertificate]
	return bad(v1alpha1.ReasonIssuanceFailed, "%s", message).within(refusedPause), refused
}

func ruleCreated(s *Scope) (verdict, bool) {
	return unsure(v1alpha1.ReasonCertificateIssuing, "Certificate %q was created", endpointName(s.agent)), s.certificate == nil
}

func ruleClock(s *Scope) (verdict, bool) {
	from := s.certificate.Status.NotBefore
	if from == nil || !s.now.Before(from.Time) {
		return verdict{}, false
	}
	return bad(v1alpha1.ReasonClockSkew, "the certificate is valid from %s on, which has not come by the operator's clock", stamp(from.Time)).within(from.Sub(s.now)), true
}

func ruleExpired(s *Scope) (verdict, bool) {
	until := s.certificate.Status.NotAfter
	if until == nil || s.now.Before(until.Time) {
		return verdict{}, false
	}
	return bad(v1alpha1.ReasonCertificateExpired, "the certificate ended at %s%s", stamp(until.Time), because(s.judgeIssuance().message)), true
}

// ruleOverdue tells of a renewal that should be over.
func ruleOverdue(s *Scope) (verdict, bool) {
	due := s.certificate.Status.RenewalTime
	if !s.inForce() || due == nil || s.now.Before(due.Add(renewalGrace)) {
		return verdict{}, false
	}
	why := "cert-manager has not begun"
	if issuance := s.judgeIssuance(); s.underWay() {
		why = issuance.reason + ": " + issuance.message
	}
	return bad(v1alpha1.ReasonRenewalFailing, "the certificate ends at %s and should have been renewed at %s: %s", stamp(s.certificate.Status.NotAfter.Time), stamp(due.Time), why), true
}

func ruleInForce(s *Scope) (verdict, bool) {
	if !s.inForce() {
		return verdict{}, false
	}
	told := good(v1alpha1.ReasonCertificateIssued, "Certificate \""+endpointName(s.agent)+"\" is valid until "+stamp(s.certificate.Status.NotAfter.Time))
	if due := s.certificate.Status.RenewalTime; due != nil {
		told = told.within(due.Add(renewalGrace).Sub(s.now))
	}
	return told, true
}

// inForce reports whether the certificate of the newest spec is in its Secret.
func (s *Scope) inForce() bool {
	ready := condition(s.certificate, certmanagerv1.CertificateConditionReady)
	return ready != nil && ready.Status == cmmeta.ConditionTrue && ready.ObservedGeneration == s.certificate.Generation && s.certificate.Status.NotAfter != nil
}

// underWay reports whether cert-manager works on a new certificate.
func (s *Scope) underWay() bool {
	issuing := condition(s.certificate, certmanagerv1.CertificateConditionIssuing)
	return issuing != nil
}

func condition(certificate *certmanagerv1.Certificate, wanted certmanagerv1.CertificateConditionType) *certmanagerv1.CertificateCondition {
	if certificate == nil {
		return nil
	}
	for i := range certificate.Status.Conditions {
		if certificate.Status.Conditions[i].Type == wanted {
			return &certificate.Status.Conditions[i]
		}
	}
	return nil
}

// judgeIssuance says why there is no certificate of the newest spec yet: the
// challenge knows best, then the order, the request and the certificate.
func (s *Scope) judgeIssuance() verdict {
	patience := time.Duration(0)
	for i := range s.challenges {
		told, left := judgeChallenge(&s.challenges[i], s.now)
		if told != nil {
			return *told
		}
		patience = sooner(patience, left)
	}
	for _, text := range []string{orderReason(s.order), requestFailure(s.request), certificateFailure(s.certificate)} {
		if text != "" {
			return bad(cause(text, v1alpha1.ReasonIssuanceFailed), "%s", tidy(text))
		}
	}
	ready, name := condition(s.certificate, certmanagerv1.CertificateConditionReady), endpointName(s.agent)
	if ready == nil || s.certificate.Status.Revision == nil {
		return unsure(v1alpha1.ReasonCertificateIssuing, "Certificate %q is being issued", name).within(patience)
	}
	// It was issued once, so its Secret was there.
	switch ready.Reason {
	case "DoesNotExist", "MissingData":
		return bad(v1alpha1.ReasonTLSSecretNotFound, "Secret %q does not exist any more; cert-manager issues another certificate", Secret(s.agent))
	case "InvalidKeyPair", "InvalidCertificate", "SecretMismatch":
		return bad(v1alpha1.ReasonTLSSecretMismatch, "the key in Secret %q does not belong to its certificate, or is damaged", Secret(s.agent))
	}
	return unsure(v1alpha1.ReasonCertificateIssuing, "Certificate %q is being issued again", name).within(patience)
}

// judgeChallenge tells of a challenge that fails; nil if nothing is wrong, or may
// still come right, for which it gives the time that is left.
func judgeChallenge(challenge *acmev1.Challenge, now time.Time) (told *verdict, left time.Duration) {
	text := tidy(challenge.Status.Reason)
	ended := false
	switch challenge.Status.State {
	case acmev1.Valid:
		return nil, 0
	case acmev1.Invalid, acmev1.Expired, acmev1.Errored:
		ended = true
	case acmev1.Pending, acmev1.Processing, acmev1.Unknown, acmev1.Ready:
	}
	reason := cause(text, "")
	left = challenge.CreationTimestamp.Add(challengeGrace).Sub(now)
	if !ended && reason == "" && (text == "" || left > 0) {
		return nil, left
	}
	if reason == "" {
		reason = v1alpha1.ReasonChallengeFailing
	}
	failed := bad(reason, "%s challenge of %s: %s", challenge.Spec.Type, challenge.Spec.DNSName, text)
	return &failed, 0
}

func orderReason(order *acmev1.Order) string {
	if order == nil || order.Status.State != acmev1.Invalid && order.Status.State != acmev1.Errored && order.Status.State != acmev1.Expired {
		return ""
	}
	return "the ACME order is " + string(order.Status.State) + because(order.Status.Reason)
}

func requestFailure(request *certmanagerv1.CertificateRequest) string {
	if request == nil {
		return ""
	}
	for _, condition := range request.Status.Conditions {
		denied := condition.Type == certmanagerv1.CertificateRequestConditionDenied && condition.Status == cmmeta.ConditionTrue
		failed := condition.Type == certmanagerv1.CertificateRequestConditionReady && condition.Status == cmmeta.ConditionFalse &&
			condition.Reason != certmanagerv1.CertificateRequestReasonPending
		if denied || failed {
			return condition.Message
		}
		// A request that waits says so in every case; only known trouble is told.
		if condition.Type == certmanagerv1.CertificateRequestConditionReady && cause(condition.Message, "") != "" {
			return condition.Message
		}
	}
	return ""
}

func certificateFailure(certificate *certmanagerv1.Certificate) string {
	issuing := condition(certificate, certmanagerv1.CertificateConditionIssuing)
	if issuing == nil || issuing.Status != cmmeta.ConditionFalse || certificate.Status.LastFailureTime == nil {
		return ""
	}
	return issuing.Message
}

func isIssued(request *certmanagerv1.CertificateRequest) bool {
	for _, condition := range request.Status.Conditions {
		if condition.Type == certmanagerv1.CertificateRequestConditionReady {
			return condition.Status == cmmeta.ConditionTrue
		}
	}
	return false
}

// revisionOf is the revision of the Certificate that a request is for.
func revisionOf(request *certmanagerv1.CertificateRequest) int {
	revision, err := strconv.Atoi(request.Annotations[certmanagerv1.CertificateRequestRevisionAnnotationKey])
	if err != nil {
		return 0
	}
	return revision
}

var (
	// Cloudflare's codes for a token that it does not know, or that may not do what
	// is asked, and what others answer in that case.
	tokenRefused = regexp.MustCompile(`(?i)\b(6003|6111|9103|9106|9109|10000|10001)\b: |invalid access token|authentication error|invalid api token|AccessDenied|error getting .*secret|(API key|token).*(is invalid|not found)|has been given \(can be either|Zone\.read rights`)
	rateLimited  = regexp.MustCompile(`(?i)acme:error:rateLimited|too many (certificates|registrations|failed|new orders|requests)|\b429\b`)
	// proof is the token in the address of an HTTP-01 challenge: no secret, but
	// different each time.
	proof  = regexp.MustCompile(`(/\.well-known/acme-challenge/)[-_A-Za-z0-9]+`)
	spaces = regexp.MustCompile(`\s+`)
	// changing are names and numbers that differ from one attempt to the next.
	changing = regexp.MustCompile(`:[0-9]{4,5}->`)
)

// cause names what is behind a message of cert-manager; fallback if it is nothing
// that has a name.
func cause(text, fallback string) string {
	switch {
	case rateLimited.MatchString(text):
		return v1alpha1.ReasonACMERateLimited
	case tokenRefused.MatchString(text):
		return v1alpha1.ReasonDNSTokenRefused
	}
	return fallback
}

// tidy puts a message of somebody else into one line of bounded length, without
// what would differ at each attempt.
func tidy(text string) string {
	const most = 400
	text = spaces.ReplaceAllString(strings.TrimSpace(text), " ")
	text = proof.ReplaceAllString(text, "${1}…")
	text = changing.ReplaceAllString(text, "->")
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}

func because(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

// issuedSince is when a request was made and when it was fulfilled.
func issuedSince(request *certmanagerv1.CertificateRequest) (made, done metav1.Time, ok bool) {
	for _, condition := range request.Status.Conditions {
		if condition.Type == certmanagerv1.CertificateRequestConditionReady && condition.Status == cmmeta.ConditionTrue && condition.LastTransitionTime != nil {
			return request.CreationTimestamp, *condition.LastTransitionTime, true
		}
	}
	return made, done, false
}
