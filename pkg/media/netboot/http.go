package netboot

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	// maxStreams is how many media are sent at the same time, maxStreamsEach how many to one address.
	maxStreams     = 128
	maxStreamsEach = 8
	// maxConnections bounds all of them, idle ones included.
	maxConnections = 512
	// Who takes less than stride in patience is cut off.
	stride   = 1 << 20
	patience = 2 * time.Minute
	// busyRetry is when to come back for a place, in seconds; iPXE does so by itself.
	busyRetry = 10
)

// visitor is a machine that asks over HTTP.
type visitor struct {
	mac          MAC
	uuid         UUID
	address      netip.Addr
	registration *Registration
}

// ServeHTTP answers machines. Nothing that it says about failures holds an address of the operator.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD are served", http.StatusMethodNotAllowed)
		return
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	here, hereErr := netip.ParseAddrPort(fmt.Sprint(local))
	remote, remoteErr := netip.ParseAddrPort(r.RemoteAddr)
	if hereErr != nil || remoteErr != nil || !s.links.has(here.Addr()) {
		http.NotFound(w, r)
		return
	}
	if name, ok := strings.CutPrefix(r.URL.Path, pathBinary); ok {
		s.serveBinary(w, r, name)
		return
	}
	mac, uuid, file, ok := parsePath(r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	who := visitor{mac: mac, uuid: uuid, address: remote.Addr().Unmap()}
	registration, why := s.config.choose(mac, uuid, who.address)
	if registration == nil {
		s.fail(w, r, who, file, &refusal{status: http.StatusForbidden, text: "this machine is left alone: " + why})
		return
	}
	who.registration = registration
	s.serveMachine(w, r, who, file)
}

// serveBinary sends iPXE to firmware that fetches it over HTTP.
func (s *server) serveBinary(w http.ResponseWriter, r *http.Request, name string) {
	binary := s.config.IPXE.UEFI
	switch name {
	case binary:
	case s.config.IPXE.BIOS:
		binary = s.config.IPXE.BIOS
	default:
		http.NotFound(w, r)
		return
	}
	file, err := os.Open(filepath.Join(s.config.IPXE.Folder, binary))
	if err != nil {
		s.log.Warnf("reading iPXE: %v", err)
		http.NotFound(w, r)
		return
	}
	defer file.Close()
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience))
	// Firmware tells an application from an image by this.
	w.Header().Set("Content-Type", "application/efi")
	http.ServeContent(w, r, "", time.Time{}, file)
}

func (s *server) serveMachine(w http.ResponseWriter, r *http.Request, who visitor, file string) {
	registration := who.registration
	switch file {
	case scriptFile:
		s.saw(who, StageScript, "was sent the script")
		writeScript(w, bootScript(who.mac, registration.Name))
	case reasonFile:
		writeScript(w, reasonScript(s.machines.failure(who.mac)))
	case mediumFile:
		script, err := s.script(r, registration)
		if err != nil {
			s.fail(w, r, who, file, err)
			return
		}
		writeScript(w, script)
	case kernelFile:
		s.stream(w, r, who, part{kernelFile, StageKernel, beside(registration.IPXEURL, kernelFile)})
	case initrdFile:
		s.stream(w, r, who, part{initrdFile, StageInitrd, beside(registration.IPXEURL, initrdFile)})
	case isoFile:
		s.stream(w, r, who, part{isoFile, StageISO, registration.DownloadURL})
	default:
		http.NotFound(w, r)
	}
}

func (s *server) script(r *http.Request, registration *Registration) ([]byte, error) {
	if registration.IPXEURL == "" {
		return nil, &refusal{status: http.StatusNotFound, text: "registration " + registration.Name + " has no ipxeURL"}
	}
	return s.upstream.script(r.Context(), registration.IPXEURL)
}

func writeScript(w http.ResponseWriter, script []byte) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(script)))
	_, _ = w.Write(script)
}

// fail notes why a machine cannot boot, and tells it.
func (s *server) fail(w http.ResponseWriter, r *http.Request, who visitor, file string, err error) {
	if r.Context().Err() != nil {
		err = errors.New("the machine hung up while the operator was asked")
	}
	answer := &refusal{status: http.StatusBadGateway, text: err.Error()}
	if refused := (*refusal)(nil); errors.As(err, &refused) {
		answer = refused
	}
	s.saw(who, StageFailed, file+": "+answer.text)
	if answer.retryAfter != "" {
		w.Header().Set("Retry-After", answer.retryAfter)
	}
	http.Error(w, answer.text, answer.status)
}

func (s *server) saw(who visitor, stage Stage, detail string) {
	seen := sighting{mac: who.mac, uuid: who.uuid, address: who.address.String(), stage: stage, detail: detail}
	if who.registration != nil {
		seen.registration = who.registration.Name
	}
	s.machines.saw(seen)
}

// part is one of the SeedImage's files: what machines call it, the stage that they are at with it, and where it is; empty where the
// registration has no address for it.
type part struct {
	name    string
	stage   Stage
	address string
}

// stream passes a part on, while it comes.
func (s *server) stream(w http.ResponseWriter, r *http.Request, who visitor, p part) {
	if p.address == "" {
		s.fail(w, r, who, p.name, &refusal{status: http.StatusNotFound, text: "registration " + who.registration.Name + " has no address for it"})
		return
	}
	whom := who.address.String()
	if !s.streams.take(whom) {
		s.fail(w, r, who, p.name, &refusal{status: http.StatusServiceUnavailable, retryAfter: strconv.Itoa(busyRetry), text: "too many machines at once; it is their turn first"})
		return
	}
	defer s.streams.give(whom)
	if r.Method == http.MethodHead {
		response, err := s.upstream.get(r.Context(), http.MethodHead, p.address, r.Header)
		if err != nil {
			s.fail(w, r, who, p.name, err)
			return
		}
		_ = response.Body.Close()
		passHeader(w, response)
		return
	}
	response, err := s.upstream.open(r.Context(), p.address, r.Header)
	if err != nil {
		s.fail(w, r, who, p.name, err)
		return
	}
	defer response.Body.Close()
	s.saw(who, p.stage, "is sent "+p.name)
	passHeader(w, response)
	if err := s.pass(w, response.Body, who.mac); err != nil {
		s.saw(who, StageFailed, p.name+": "+err.Error())
		// Nothing but a broken connection tells a client that what it has is not all.
		panic(http.ErrAbortHandler)
	}
	if p.stage != StageKernel && response.StatusCode < http.StatusMultipleChoices && reachesEnd(response) {
		s.saw(who, StageSent, "was sent all of it; once it has registered, it is a MachineInventory")
	}
}

// reachesEnd tells whether the last byte of the file was in the response.
func reachesEnd(response *http.Response) bool {
	if response.StatusCode != http.StatusPartialContent {
		return true
	}
	var first, last, size int64
	_, err := fmt.Sscanf(response.Header.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &size)
	return err == nil && last+1 == size
}

func passHeader(w http.ResponseWriter, response *http.Response) {
	for _, name := range []string{"Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "Etag"} {
		if value := response.Header.Get(name); value != "" {
			w.Header().Set(name, value)
		}
	}
	w.WriteHeader(response.StatusCode)
}

// pass copies, in strides that each have their time. What was sent is counted.
func (s *server) pass(w http.ResponseWriter, from io.Reader, mac MAC) error {
	controller := http.NewResponseController(w)
	for {
		_ = controller.SetWriteDeadline(time.Now().Add(patience))
		// The reader's own errors are told from those of the machine's connection.
		limited := &noting{Reader: io.LimitReader(from, stride)}
		n, err := io.Copy(plainWriter{w}, limited)
		s.machines.sent(mac, n)
		switch {
		case limited.failed != nil:
			return limited.failed
		case err != nil:
			return errors.New("the machine stopped taking it")
		case n == 0:
			return nil
		}
	}
}

// noting keeps the error that reading ended with.
type noting struct {
	io.Reader
	failed error
}

func (n *noting) Read(buffer []byte) (int, error) {
	read, err := n.Reader.Read(buffer)
	if err != nil && !errors.Is(err, io.EOF) {
		n.failed = err
	}
	return read, err
}

// plainWriter hides what else a response can do, so that a copy's buffer stays small.
type plainWriter struct{ io.Writer }
