package rancher

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func at(after time.Duration) string { return noon.Add(after).Format(time.RFC3339) }

func minutes(n int64) *int64 { return &n }

func crtNamed(name string, change func(*clusterRegistrationToken)) clusterRegistrationToken {
	crt := clusterRegistrationToken{}
	crt.Name = name
	if change != nil {
		change(&crt)
	}
	return crt
}

func TestDecideToken(t *testing.T) {
	data := func(pairs ...string) map[string][]byte {
		m := map[string][]byte{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = []byte(pairs[i+1])
		}
		return m
	}
	type want struct {
		token, secretName string
		secret            map[string][]byte
		good              []string
		again             time.Duration
	}
	const day = 24 * time.Hour
	tests := []struct {
		reason string
		in     tokenInput
		want   want
	}{
		{
			reason: "before 2.15 the token is in the status, for ever",
			in:     tokenInput{form: TokenLegacy},
			want:   want{token: "fresh", good: []string{"fresh"}},
		},
		{
			reason: "before 2.15 it stays",
			in:     tokenInput{form: TokenLegacy, crt: crtNamed("m", func(c *clusterRegistrationToken) { c.Status.Token = "old" })},
			want:   want{token: "old", good: []string{"old"}},
		},
		{
			reason: "before 2.15 a new one replaces it at once",
			in:     tokenInput{form: TokenLegacy, rotate: true, crt: crtNamed("m", func(c *clusterRegistrationToken) { c.Status.Token = "old" })},
			want:   want{token: "fresh", good: []string{"fresh"}},
		},
		{
			reason: "from 2.15 on it is in a Secret and expires",
			in:     tokenInput{form: TokenSecret},
			want: want{secretName: "crt-token-m", secret: data("token", "fresh", "expiresAt", at(30*day)),
				good: []string{"fresh"}, again: 30 * day},
		},
		{
			reason: "an upgrade to 2.15 moves the token, also over a Secret from an earlier life",
			in: tokenInput{form: TokenSecret, secret: data("token", "stale", "expiresAt", at(day)),
				crt: crtNamed("m", func(c *clusterRegistrationToken) { c.Status.Token = "old" })},
			want: want{secretName: "crt-token-m", secret: data("token", "old", "expiresAt", at(30*day)),
				good: []string{"old"}, again: 30 * day},
		},
		{
			reason: "nothing is due",
			in:     tokenInput{form: TokenSecret, secret: data("token", "old", "expiresAt", at(day))},
			want: want{secretName: "crt-token-m", secret: data("token", "old", "expiresAt", at(day)),
				good: []string{"old"}, again: day},
		},
		{
			reason: "it expired: a new one, and the old one is good for a while",
			in:     tokenInput{form: TokenSecret, secret: data("token", "old", "expiresAt", at(0))},
			want: want{secretName: "crt-token-m", good: []string{"fresh", "old"}, again: time.Hour,
				secret: data("token", "fresh", "previousToken", "old", "expiresAt", at(30*day), "gracePeriodExpiresAt", at(time.Hour))},
		},
		{
			reason: "somebody asked for a new one",
			in:     tokenInput{form: TokenSecret, rotate: true, secret: data("token", "old", "expiresAt", at(day))},
			want: want{secretName: "crt-token-m", good: []string{"fresh", "old"}, again: time.Hour,
				secret: data("token", "fresh", "previousToken", "old", "expiresAt", at(30*day), "gracePeriodExpiresAt", at(time.Hour))},
		},
		{
			reason: "the grace period is over",
			in: tokenInput{form: TokenSecret, secret: data("token", "new", "previousToken", "old", "expiresAt", at(day),
				"gracePeriodExpiresAt", at(-time.Second))},
			want: want{secretName: "crt-token-m", secret: data("token", "new", "expiresAt", at(day)),
				good: []string{"new"}, again: day},
		},
		{
			reason: "the spec's lifetimes count in minutes and have a floor",
			in: tokenInput{form: TokenSecret, rotate: true, secret: data("token", "old", "expiresAt", at(day)),
				crt: crtNamed("m", func(c *clusterRegistrationToken) { c.Spec.TTL, c.Spec.GracePeriod = minutes(1), minutes(1) })},
			want: want{secretName: "crt-token-m", good: []string{"fresh", "old"}, again: 10 * time.Minute,
				secret: data("token", "fresh", "previousToken", "old", "expiresAt", at(30*time.Minute), "gracePeriodExpiresAt", at(10*time.Minute))},
		},
		{
			reason: "a grace period ends before the next rotation",
			in: tokenInput{form: TokenSecret, rotate: true, ttl: 10 * time.Second, grace: time.Hour,
				secret: data("token", "old", "expiresAt", at(day))},
			want: want{secretName: "crt-token-m", good: []string{"fresh", "old"}, again: 8 * time.Second,
				secret: data("token", "fresh", "previousToken", "old", "expiresAt", at(10*time.Second), "gracePeriodExpiresAt", at(8*time.Second))},
		},
		{
			reason: "a broken date expires nothing",
			in:     tokenInput{form: TokenSecret, secret: data("token", "old", "expiresAt", "soon")},
			want:   want{secretName: "crt-token-m", secret: data("token", "old", "expiresAt", "soon"), good: []string{"old"}},
		},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			in := test.in
			in.now, in.fresh = noon, "fresh"
			defaultTo(&in.ttl, 30*day)
			defaultTo(&in.grace, time.Hour)
			if in.crt.Name == "" {
				in.crt = crtNamed("m", nil)
			}
			out := decideToken(in)
			got := want{out.status.Token, out.status.TokenSecretName, out.secret, out.good(), out.again}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
			if out.status.ExpiresAt != string(out.secret["expiresAt"]) {
				t.Errorf("status says it expires at %q, the Secret at %q", out.status.ExpiresAt, out.secret["expiresAt"])
			}
		})
	}
}

func TestDecideTokenDoesNotChangeItsInput(t *testing.T) {
	secret := map[string][]byte{"token": []byte("old"), "expiresAt": []byte(at(time.Hour))}
	decideToken(tokenInput{form: TokenSecret, now: noon, rotate: true, secret: secret, ttl: time.Hour, fresh: "fresh"})
	if string(secret["token"]) != "old" || len(secret) != 2 {
		t.Errorf("the Secret read became %q", secret)
	}
}

func TestDescribe(t *testing.T) {
	status := registrationTokenStatus{}
	status.Token = "tok"
	status.describe("https://r", "CA\n", "c-m-1")
	want := "curl -fL https://r/system-agent-install.sh | sudo  sh -s - --server https://r --label 'cattle.io/os=linux' --token tok " +
		"--ca-checksum " + checksum("CA\n")
	if status.NodeCommand != want {
		t.Errorf("node command\n%s\nwant\n%s", status.NodeCommand, want)
	}
	if want := "kubectl apply -f https://r/v3/import/tok_c-m-1.yaml"; status.Command != want {
		t.Errorf("command %q, want %q", status.Command, want)
	}

	status = registrationTokenStatus{TokenSecretName: "crt-token-m"}
	status.describe("https://r", "", "c-m-1")
	if want := "curl -fL https://r/system-agent-install.sh | sudo  sh -s - --server https://r --label 'cattle.io/os=linux' --token <token>"; status.NodeCommand != want {
		t.Errorf("node command %q, want %q", status.NodeCommand, want)
	}
	status = registrationTokenStatus{}
	if status.describe("", "CA", "c"); status != (registrationTokenStatus{}) {
		t.Errorf("without a server URL there is nothing to show, got %+v", status)
	}
}

func TestTokensFind(t *testing.T) {
	tokens := newTokens(nil, Options{}, nil)
	a, b := key{Namespace: "c-m-1", Name: "a"}, key{Namespace: "c-m-2", Name: "b"}
	tokens.remember(a, []string{"new", "old"})
	tokens.remember(b, []string{"other"})
	if k, found := tokens.find("old"); !found || k != a {
		t.Errorf("previous token belongs to %v (%v)", k, found)
	}
	tokens.remember(a, []string{"new"})
	if _, found := tokens.find("old"); found {
		t.Error("a token is good after its grace period")
	}
	tokens.remember(a, nil)
	if _, found := tokens.find("new"); found {
		t.Error("a token is good after its object is gone")
	}
	if k, found := tokens.find("other"); !found || k != b {
		t.Error("another object's token went with it")
	}
	if _, found := tokens.find(""); found {
		t.Error("no token is a token")
	}
}
