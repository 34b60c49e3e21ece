package rancher

import (
	"fmt"
	"maps"
	"sync"
	"time"
)

// TokenForm is where a Rancher keeps the token of a ClusterRegistrationToken.
type TokenForm string

const (
	// TokenLegacy is Rancher 2.6 to 2.14: status.token, for ever.
	TokenLegacy TokenForm = "Legacy"
	// TokenSecret is Rancher 2.15: a Secret that status.tokenSecretName names, expiring, rotated with a grace period.
	TokenSecret TokenForm = "Secret"
)

// tokenFormBox holds the form, which a test may change while all runs.
type tokenFormBox struct {
	mutex sync.Mutex
	form  TokenForm
}

func (b *tokenFormBox) get() TokenForm {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.form
}

func (b *tokenFormBox) set(form TokenForm) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.form = form
}

// The Secret of a registration token and its keys.
const (
	tokenSecretPrefix = "crt-token-"
	keyToken          = "token"
	keyPreviousToken  = "previousToken"
	keyExpiresAt      = "expiresAt"
	keyGraceExpiresAt = "gracePeriodExpiresAt"
)

// Rancher refuses to go below these, whatever spec.ttl and spec.gracePeriod say.
const (
	shortestTTL   = 30 * time.Minute
	shortestGrace = 10 * time.Minute
)

// tokenInput is all that the decision about one registration token rests on.
type tokenInput struct {
	form       TokenForm
	now        time.Time
	rotate     bool // somebody asked for a new token
	crt        clusterRegistrationToken
	secret     map[string][]byte // nil: there is none
	ttl, grace time.Duration     // unless the spec says otherwise
	fresh      string            // the token to use if a new one is due
}

// tokenOutput is what shall be.
type tokenOutput struct {
	status registrationTokenStatus
	secret map[string][]byte // nil: leave alone
	again  time.Duration     // when to look again, 0: never
}

// decideToken says what a registration token's status and Secret shall hold now.
func decideToken(in tokenInput) tokenOutput {
	if in.form == TokenSecret {
		return decideSecretToken(in)
	}
	// A Rancher before 2.15 knows neither the Secret nor the fields about it.
	out := tokenOutput{}
	out.status.Token = in.crt.Status.Token
	if out.status.Token == "" || in.rotate {
		out.status.Token = in.fresh
	}
	return out
}

func decideSecretToken(in tokenInput) tokenOutput {
	data := maps.Clone(in.secret)
	ttl, grace := in.lifetimes()
	stamp := func(after time.Duration) []byte {
		// Whole seconds, rounded up: a lifetime of less than a second would be over before it began.
		return []byte(in.now.Add(after + time.Second - 1).Truncate(time.Second).UTC().Format(time.RFC3339))
	}
	switch {
	case in.crt.Status.Token != "":
		// An upgrade to 2.15 moves the token that machines already have.
		data = map[string][]byte{keyToken: []byte(in.crt.Status.Token), keyExpiresAt: stamp(ttl)}
	case len(data[keyToken]) == 0:
		data = map[string][]byte{keyToken: []byte(in.fresh), keyExpiresAt: stamp(ttl)}
	case in.rotate || in.over(data[keyExpiresAt]):
		data[keyPreviousToken] = data[keyToken]
		data[keyToken] = []byte(in.fresh)
		data[keyExpiresAt] = stamp(ttl)
		data[keyGraceExpiresAt] = stamp(grace)
	}
	if in.over(data[keyGraceExpiresAt]) {
		delete(data, keyPreviousToken)
		delete(data, keyGraceExpiresAt)
	}

	out := tokenOutput{secret: data}
	out.status.TokenSecretName = tokenSecretPrefix + in.crt.Name
	out.status.ExpiresAt = string(data[keyExpiresAt])
	out.status.GracePeriodExpiresAt = string(data[keyGraceExpiresAt])
	for _, at := range [][]byte{data[keyExpiresAt], data[keyGraceExpiresAt]} {
		if moment, err := time.Parse(time.RFC3339, string(at)); err == nil {
			wait := max(moment.Sub(in.now), time.Millisecond)
			if out.again == 0 || wait < out.again {
				out.again = wait
			}
		}
	}
	return out
}

// lifetimes are those of the spec, in minutes and within Rancher's limits, else the defaults, which a test may choose as
// short as it likes.
func (in tokenInput) lifetimes() (ttl, grace time.Duration) {
	ttl, grace = in.ttl, in.grace
	if in.crt.Spec.TTL != nil {
		ttl = max(time.Duration(*in.crt.Spec.TTL)*time.Minute, shortestTTL)
	}
	if in.crt.Spec.GracePeriod != nil {
		grace = max(time.Duration(*in.crt.Spec.GracePeriod)*time.Minute, shortestGrace)
	}
	if grace >= ttl {
		grace = ttl * 8 / 10 // or old tokens would pile up
	}
	return ttl, grace
}

// over says whether the moment in a Secret has passed; a missing or broken one has not.
func (in tokenInput) over(stamp []byte) bool {
	moment, err := time.Parse(time.RFC3339, string(stamp))
	return err == nil && !in.now.Before(moment)
}

// good lists what machines may present.
func (out tokenOutput) good() []string {
	if out.status.TokenSecretName == "" {
		return []string{out.status.Token}
	}
	good := []string{string(out.secret[keyToken])}
	if previous := out.secret[keyPreviousToken]; len(previous) > 0 {
		good = append(good, string(previous))
	}
	return good
}

// describe fills in the commands that Rancher shows to people. With the token in a Secret they cannot show it.
func (s *registrationTokenStatus) describe(server, ca, cluster string) {
	if server == "" {
		return
	}
	token := s.Token
	if token == "" {
		token = "<token>"
	}
	pin := ""
	if ca != "" {
		pin = " --ca-checksum " + checksum(ca)
	}
	node := func(curl string) string {
		return fmt.Sprintf("%s -fL %s/system-agent-install.sh | sudo  sh -s - --server %s --label 'cattle.io/os=linux' --token %s%s",
			curl, server, server, token, pin)
	}
	s.ManifestURL = fmt.Sprintf("%s/v3/import/%s_%s.yaml", server, token, cluster)
	s.Command = "kubectl apply -f " + s.ManifestURL
	s.InsecureCommand = "curl --insecure -sfL " + s.ManifestURL + " | kubectl apply -f -"
	s.NodeCommand = node("curl")
	s.InsecureNodeCommand = node("curl --insecure")
}
