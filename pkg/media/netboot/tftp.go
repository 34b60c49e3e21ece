package netboot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pin/tftp/v3"
)

const (
	// maxBinary is the largest file that is sent: iPXE's own are below 2 MiB.
	maxBinary = 16 << 20
	// maxTransfers is how many are sent at the same time, and maxTransfersEach how many to one address. A transfer takes a
	// socket and a few kilobytes.
	maxTransfers     = 64
	maxTransfersEach = 4
	// A block that is not acknowledged is sent again a second later, and so many times; then the transfer ends.
	tftpTimeout = time.Second
	tftpRetries = 5
	// tftpPatience bounds a whole transfer: a client that takes its time for each block does not keep its place.
	tftpPatience = 3 * time.Minute
)

// tftpName is the name of a binary for a machine: its MAC address tells, on the way back, whose transfer it is.
func tftpName(mac MAC, binary string) string { return mac.dashed() + "/" + binary }

// parseTFTP is the binary that a name stands for; with the machine's address where it is in the name.
func (c *Config) parseTFTP(name string) (binary string, mac MAC, known, ok bool) {
	rest := strings.TrimLeft(name, "/")
	if folder, file, found := strings.Cut(rest, "/"); found {
		parsed, err := ParseMAC(folder)
		if err != nil {
			return "", MAC{}, false, false
		}
		mac, known, rest = parsed, true, file
	}
	return rest, mac, known, rest == c.IPXE.BIOS || rest == c.IPXE.UEFI
}

// tftpServer sends iPXE's binaries.
type tftpServer struct {
	*server
	ctx     context.Context
	library *tftp.Server
	places  *places
}

func (s *server) newTFTP(ctx context.Context) *tftpServer {
	t := &tftpServer{server: s, ctx: ctx, places: newPlaces(maxTransfers, maxTransfersEach)}
	// Without a handler for it, nothing can be written.
	t.library = tftp.NewServer(t.read, nil)
	t.library.SetTimeout(tftpTimeout)
	t.library.SetRetries(tftpRetries)
	t.library.SetBackoff(func(int) time.Duration { return 0 })
	t.library.SetBlockSize(s.links.largestBlock())
	return t
}

var errNoFile = errors.New("there is no such file")

// read answers one request. It runs in a goroutine of the library, where a panic over what a stranger sent would end the whole
// process.
func (t *tftpServer) read(name string, to io.ReaderFrom) (err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = errors.New("the request cannot be understood")
			t.log.Debugf("a TFTP request that made the library stumble: %v", panicked)
		}
	}()
	transfer, ok := to.(tftp.OutgoingTransfer)
	if !ok {
		return errNoFile
	}
	remote := transfer.RemoteAddr()
	if info, ok := to.(tftp.RequestPacketInfo); ok && !t.forUs(info.LocalIP()) {
		return errNoFile
	}
	binary, mac, known, ok := t.config.parseTFTP(name)
	if !ok {
		return errNoFile
	}
	whom := remote.IP.String()
	if !t.places.take(whom) {
		return errors.New("too many transfers; come back in a moment")
	}
	defer t.places.give(whom)
	sent, err := t.send(filepath.Join(t.config.IPXE.Folder, binary), transfer, to)
	seen := sighting{mac: mac, address: whom, stage: StageTFTP, detail: "was sent " + binary + " by TFTP"}
	switch {
	case !known || sent == 0 && err != nil && t.ctx.Err() == nil && !isTimeout(err):
		// Firmware asks for the size first, and takes back its request when it knows.
		return err
	case err != nil:
		seen.stage, seen.detail = StageFailed, fmt.Sprintf("TFTP of %s ended after %d bytes: %v", binary, sent, err)
	}
	t.machines.saw(seen)
	return err
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// forUs tells whether a request came to an interface of ours. A system that does not tell leaves it open.
func (t *tftpServer) forUs(local net.IP) bool {
	address, ok := netip.AddrFromSlice(local.To4())
	return !ok || t.links.has(address)
}

func (t *tftpServer) send(path string, transfer tftp.OutgoingTransfer, to io.ReaderFrom) (int64, error) {
	file, err := os.Open(path)
	if err != nil {
		t.log.Warnf("reading iPXE: %v", err)
		return 0, errNoFile
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxBinary {
		return 0, errNoFile
	}
	// Always ours, never what the client writes there.
	transfer.SetSize(info.Size())
	return to.ReadFrom(&patient{Reader: io.LimitReader(file, maxBinary), ctx: t.ctx, until: time.Now().Add(tftpPatience)})
}

// patient reads until its time is over, or the server's.
type patient struct {
	io.Reader
	ctx   context.Context
	until time.Time
}

func (p *patient) Read(buffer []byte) (int, error) {
	switch {
	case p.ctx.Err() != nil:
		return 0, errors.New("the server stops")
	case time.Now().After(p.until):
		return 0, errors.New("it took too long")
	}
	return p.Reader.Read(buffer)
}
