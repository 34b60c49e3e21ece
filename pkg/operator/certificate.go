package operator

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// certificateFiles are the listener's certificate and key, which are read again when the files change: a Secret that is mounted
// changes in place, and nobody is to be turned away for it. While what is there cannot be used, the pair before it stays.
type certificateFiles struct {
	certFile, keyFile string

	mutex   sync.Mutex
	pair    *tls.Certificate
	changed [2]time.Time
}

func readCertificate(certFile, keyFile string) (*certificateFiles, error) {
	files := &certificateFiles{certFile: certFile, keyFile: keyFile}
	if err := files.read(); err != nil {
		return nil, fmt.Errorf("reading --tls-cert-file and --tls-key-file: %w", err)
	}
	return files, nil
}

// get is for tls.Config.GetCertificate. It looks at the files' times on every connection, which costs microseconds.
func (f *certificateFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.times() == f.changed {
		return f.pair, nil
	}
	if err := f.read(); err != nil {
		logrus.WithError(err).Warn("the listener's certificate has changed and cannot be used; the one before it stays")
		return f.pair, nil
	}
	logrus.Info("the listener has a new certificate")
	return f.pair, nil
}

// read takes the files' times first: what changes while it reads is read once more.
func (f *certificateFiles) read() error {
	f.changed = f.times()
	pair, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
	if err != nil {
		return err
	}
	f.pair = &pair
	return nil
}

// times are when the files were changed; zero for one that is not there.
func (f *certificateFiles) times() (times [2]time.Time) {
	for i, file := range []string{f.certFile, f.keyFile} {
		if info, err := os.Stat(file); err == nil {
			times[i] = info.ModTime()
		}
	}
	return times
}
