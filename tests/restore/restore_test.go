// Package restore loses everything that is ours, CRDs and statuses included, and puts it back as backups do: objects with new
// UIDs and no status, in several orders, with the operator stopped and running. What a user had must be there again: every
// URL, name and token; what was decided of a machine stays decided; and no node is upgraded once more.
//
// It has a control plane of its own, because it takes the kinds away from it.
package restore

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/tests/machine"
)

func TestRestore(t *testing.T) {
	logrus.SetLevel(logrus.WarnLevel)
	s := start(t)
	before := s.settle(t)
	command := s.join(t, s.alpha)
	for _, way := range []struct {
		name string
		put  func(t *testing.T, s *site, all backup)
		// running tells that the operator was not stopped for the restore.
		running bool
	}{
		{"owners first", func(t *testing.T, s *site, all backup) { s.putOwnersFirst(t, all) }, false},
		{"Secrets first, owner references dropped", func(t *testing.T, s *site, all backup) { s.putBare(t, all) }, false},
		{"owners first, last kinds first, under a running operator", func(t *testing.T, s *site, all backup) {
			all = slices.Clone(all)
			slices.Reverse(all)
			s.putOwnersFirst(t, all)
		}, true},
		{"Secrets first, owner references dropped, under a running operator", func(t *testing.T, s *site, all backup) { s.putBare(t, all) }, true},
	} {
		t.Run(way.name, func(t *testing.T) {
			saved := s.take(t)
			require.NoError(t, s.StopOperator())
			s.lose(t, saved)
			s.putCRDs(t, saved)
			if way.running {
				s.startOperator(t)
			}
			way.put(t, s, saved)
			if !way.running {
				s.startOperator(t)
			}
			s.requirePicture(t, before)
			s.requireMachinesKnown(t)
			if joined := s.join(t, s.alpha); !way.running {
				require.Equal(t, command, joined, "the same cluster, role and token")
			} else {
				// An operator that runs meanwhile takes tokens away whose machines are not there: they are made anew.
				require.Equal(t, withoutToken(command), withoutToken(joined))
				command = joined
			}
			s.requirePicture(t, before)
		})
	}
}

func (s *site) startOperator(t *testing.T) {
	t.Helper()
	require.NoError(t, s.StartOperator(t.Context()))
	require.NoError(t, s.WaitForTunnel(t.Context()))
}

// settle is the picture once it has stopped changing.
func (s *site) settle(t *testing.T) []string {
	t.Helper()
	last := s.picture(t)
	s.eventually(t, func() error {
		now := s.picture(t)
		if !slices.Equal(last, now) {
			last = now
			return fmt.Errorf("it goes on changing")
		}
		return nil
	})
	return last
}

// requirePicture waits until all is as it was, and says what is not.
func (s *site) requirePicture(t *testing.T, want []string) {
	t.Helper()
	s.eventually(t, func() error {
		var wrong []string
		got := s.picture(t)
		for _, line := range want {
			if !slices.Contains(got, line) {
				wrong = append(wrong, "missing: "+line)
			}
		}
		for _, line := range got {
			if !slices.Contains(want, line) {
				wrong = append(wrong, "instead: "+line)
			}
		}
		if len(wrong) > 0 {
			return fmt.Errorf("not as it was:\n%s", strings.Join(wrong, "\n"))
		}
		return nil
	})
}

// requireMachinesKnown lets every machine come back, each to what it was.
func (s *site) requireMachinesKnown(t *testing.T) {
	t.Helper()
	s.register(t, s.alpha, s.urls["edge"], 0)
	s.register(t, s.beta, s.urls["manual"], 0)
	s.register(t, s.gamma, s.urls["manual"], 14)
	s.register(t, s.old, s.urls["edge"], 13)
	s.register(t, s.spare, s.urls["manual"], 0)
	require.True(t, strings.HasPrefix(s.knock(t, s.certified, s.urls["maker"]), "m-"))
	_, err := (&machine.OldClient{TLS: s.TLS()}).InventoryWithToken(t.Context(), s.Rancher.URL(), shared)
	require.NoError(t, err)

	// What was used up stays used up.
	stranger, err := tpm.GenerateSoftware(tpm.RSA2048)
	require.NoError(t, err)
	require.Contains(t, s.knock(t, stranger, s.urls["single"]), "all the machines it may take")
	require.Equal(t, http.StatusOK, s.download(t, "usb"))
	require.Equal(t, http.StatusForbidden, s.download(t, "once"))
}

func (s *site) join(t *testing.T, m *machine.Machine) string {
	t.Helper()
	result, err := m.JoinCommand(t.Context())
	require.NoError(t, err)
	require.Zero(t, result.ExitCode, result.Stderr)
	return result.Stdout
}

// withoutToken leaves the token out of a command that joins.
func withoutToken(command string) string {
	return regexp.MustCompile(`--token \S+`).ReplaceAllString(command, "--token")
}
