package rancher

import (
	"crypto/tls"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

//go:embed system-agent-install.sh
var installScript string

// handler is what this Rancher answers over HTTPS: aggregated paths first, as in Rancher, then its own.
func (r *Rancher) handler() http.Handler {
	own := http.NewServeMux()
	answer := func(path string, body func() string) {
		own.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, body())
		})
	}
	answer("/ping", func() string { return "pong" })
	answer("/healthz", func() string { return "ok" })
	answer("/cacerts", r.api.publicCA)
	answer("/system-agent-install.sh", func() string { return installScript })
	own.HandleFunc("/v3/connect", r.tunnel.connect)
	own.HandleFunc("GET /v3/connect/agent", r.connectAgent)

	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		escaped := request.URL.EscapedPath()
		if clean := cleanPath(escaped); clean != escaped {
			if request.URL.RawQuery != "" {
				clean += "?" + request.URL.RawQuery
			}
			http.Redirect(w, request, clean, http.StatusMovedPermanently)
			return
		}
		if session, ok := r.apiServices.route(escaped); ok {
			r.tunnel.serve(session, w, request)
			return
		}
		own.ServeHTTP(w, request)
	})
}

// connectAgent is where the install script ends: a machine with a good token becomes a Node of the token's cluster and
// learns how its agent would go on.
func (r *Rancher) connectAgent(w http.ResponseWriter, request *http.Request) {
	joined, err := r.nodes.join(request.Context(), request.Header)
	if err != nil {
		status := http.StatusServiceUnavailable // of the API server behind us: worth another try
		var refused *refusal
		if errors.As(err, &refused) {
			status = refused.status
		}
		http.Error(w, err.Error(), status)
		return
	}
	r.opts.Log(fmt.Sprintf("node %s joined cluster %s", joined.Name, joined.Namespace))
	if err := r.adopt(request.Context(), joined); err != nil {
		r.opts.Log(err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{
		"namespace":  joined.Namespace,
		"secretName": joined.Name + "-machine-plan",
		"kubeConfig": "",
	})
}

func newServer(handler http.Handler, certificate tls.Certificate) *http.Server {
	return &http.Server{
		Handler:           handler,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          quiet(),
	}
}
