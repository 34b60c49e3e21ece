package netboot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rancher/rancheros-operator/pkg/version"
)

// DefaultStatusAddress is where a server tells of itself, to its own host only.
const DefaultStatusAddress = "127.0.0.1:8067"

// PathStatus is the status as JSON; /healthz says ok while the server runs.
const PathStatus = "/status"

// Status is what a server tells of itself. It holds no secret.
type Status struct {
	Version       string               `json:"version"`
	Started       time.Time            `json:"started"`
	Interfaces    []string             `json:"interfaces"`
	Registrations []RegistrationStatus `json:"registrations"`
	Others        []Other              `json:"otherServers"`
	Machines      []Machine            `json:"machines"`
}

// RegistrationStatus says whether the operator hands out what machines boot.
type RegistrationStatus struct {
	Name string `json:"name"`
	// Ready is what was found when it was last looked at; Problem says what is in the way.
	Ready   bool      `json:"ready"`
	Problem string    `json:"problem,omitempty"`
	Checked time.Time `json:"checked"`
}

func (s *server) status() Status {
	return Status{
		Version: version.Get().String(), Started: s.started, Interfaces: s.links.usable(),
		Registrations: s.checks.all(), Others: s.others.all(), Machines: s.machines.all(),
	}
}

func (s *server) statusHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET "+PathStatus, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		_ = encoder.Encode(s.status())
	})
	return mux
}

// maxStatus bounds what is read of a status: a thousand machines take some hundred kilobytes.
const maxStatus = 8 << 20

// ReadStatus asks a server that runs at host:port.
func ReadStatus(ctx context.Context, address string) (*Status, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+PathStatus, nil)
	if err != nil {
		return nil, fmt.Errorf("the address must be host:port, not %q", address)
	}
	// No proxy of the environment knows this host's own ports.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking for the status (does `rancheros-operator netboot` run there, with this statusAddress?): %w", err)
	}
	defer response.Body.Close()
	status := &Status{}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s: it is no netboot server", address, response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxStatus)).Decode(status); err != nil {
		return nil, fmt.Errorf("%s is no netboot server: %w", address, err)
	}
	return status, nil
}

// Table writes a status for people.
func (s *Status) Table(to io.Writer, now time.Time) error {
	table := tabwriter.NewWriter(to, 0, 0, 3, ' ', 0)
	fmt.Fprintf(table, "%s, up %s, on %s\n\n", s.Version, age(now, s.Started), strings.Join(s.Interfaces, ", "))
	fmt.Fprintln(table, "REGISTRATION\tREADY\tCHECKED\tPROBLEM")
	for _, registration := range s.Registrations {
		fmt.Fprintf(table, "%s\t%t\t%s\t%s\n", registration.Name, registration.Ready, age(now, registration.Checked), dash(registration.Problem))
	}
	fmt.Fprintln(table, "\nMACHINE\tADDRESS\tFIRMWARE\tREGISTRATION\tSTAGE\tSINCE\tSENT\tBOOTS\tDETAIL")
	for _, m := range s.Machines {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n",
			m.MAC, dash(m.Address), dash(string(m.Firmware)), dash(m.Registration), m.Stage, age(now, m.Since), size(m.Sent), m.Boots, m.Detail)
	}
	if len(s.Others) > 0 {
		fmt.Fprintln(table, "\nOTHER SERVER\tTELLS TO BOOT\tSEEN\tMACHINE")
	}
	for _, other := range s.Others {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", other.Address, dash(other.BootFile), age(now, other.Seen), other.Machine)
	}
	return errors.Join(table.Flush())
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func age(now, since time.Time) string {
	if since.IsZero() {
		return "-"
	}
	return max(0, now.Sub(since)).Round(time.Second).String()
}

func size(bytes int64) string {
	if bytes < 1<<20 {
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}
