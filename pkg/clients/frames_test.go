package clients

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	jsonserializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
)

func TestFramesAreAsKubernetesCutsThem(t *testing.T) {
	event := `{"type":"ADDED","object":` + inventoryJSON + "}\n"
	long := `{"type":"ADDED","object":{"spec":"` + strings.Repeat("é", lineBytes) + `"}}` + "\n"
	broken := errors.New("the connection broke")
	for _, c := range []struct {
		why    string
		stream io.Reader
	}{
		{"events", strings.NewReader(event + event + event)},
		{"long ones among them", strings.NewReader(event + long + event + long)},
		{"many in a packet, cut anywhere", iotest.HalfReader(strings.NewReader(strings.Repeat(event, 9)))},
		{"a byte at a time", iotest.OneByteReader(strings.NewReader(event + long + event))},
		{"the last without a line end", strings.NewReader(event + strings.TrimSpace(event))},
		{"over many lines", strings.NewReader(event + strings.ReplaceAll(event, ",", ",\n") + event)},
		{"empty lines", strings.NewReader(event + "\n\n" + event)},
		{"another order", strings.NewReader(`{"object":{},"type":"ADDED"}` + "\n" + event)},
		{"half of one", strings.NewReader(event + event[:len(event)/2])},
		{"no JSON", strings.NewReader(event + "upstream timed out\n" + event)},
		{"a break in between", io.MultiReader(strings.NewReader(event), iotest.ErrReader(broken))},
		{"a break in one", io.MultiReader(strings.NewReader(event+event[:50]), iotest.ErrReader(broken))},
		{"a break in a long one", io.MultiReader(strings.NewReader(long[:lineBytes+9]), iotest.ErrReader(broken))},
		{"nothing", strings.NewReader("")},
	} {
		var bytes strings.Builder
		stream := io.TeeReader(c.stream, &bytes)
		got, err := frames(fastFramer{jsonserializer.Framer}.NewFrameReader(io.NopCloser(stream)))
		again := io.Reader(strings.NewReader(bytes.String()))
		if errors.Is(err, broken) {
			again = io.MultiReader(again, iotest.ErrReader(broken))
		}
		want, wantErr := frames(jsonserializer.Framer.NewFrameReader(io.NopCloser(again)))
		require.Equal(t, want, got, c.why)
		require.EqualError(t, err, wantErr.Error(), c.why)
	}
}

// frames reads all frames, with a buffer that most do not fit into, as client-go does.
func frames(reader io.Reader) ([]string, error) {
	var all []string
	var frame []byte
	buffer := make([]byte, 100)
	for {
		n, err := reader.Read(buffer)
		frame = append(frame, buffer[:n]...)
		switch {
		case errors.Is(err, io.ErrShortBuffer):
		case err != nil:
			return all, err
		default:
			all = append(all, strings.TrimSpace(string(frame)))
			frame = frame[:0]
		}
	}
}

func TestFramesClose(t *testing.T) {
	read, write := io.Pipe()
	require.NoError(t, fastFramer{jsonserializer.Framer}.NewFrameReader(read).Close())
	_, err := write.Write([]byte("{}"))
	require.ErrorIs(t, err, io.ErrClosedPipe)
}
