// Package prometheus has Prometheus itself read the alerts and the dashboard that the chart brings. It is a module of its
// own, so that the product's go.mod never sees Prometheus, and it knows nothing of ours: what metrics there are it reads in the
// guide, which pkg/metrics keeps true.
package prometheus
