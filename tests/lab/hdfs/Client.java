import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.StreamSupport;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.CreateFlag;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.hdfs.DistributedFileSystem;
import org.apache.hadoop.hdfs.HdfsConfiguration;
import org.apache.hadoop.hdfs.protocol.DatanodeInfo;
import org.apache.hadoop.hdfs.protocol.LocatedBlock;
import org.apache.hadoop.hdfs.protocol.LocatedBlocks;
import org.apache.hadoop.hdfs.tools.DFSAdmin;
import org.apache.hadoop.hdfs.tools.DFSHAAdmin;
import org.apache.hadoop.hdfs.tools.DFSck;
import org.apache.hadoop.util.Tool;
import org.apache.hadoop.util.ToolRunner;

/**
 * The lab's client of HDFS: one request a line on standard input, one answer a line on standard
 * output, both JSON. One process serves many requests, because each start of a JVM takes seconds.
 *
 * <p>It ends with its input; files that it holds open stay open.
 */
public final class Client {
  private static final int BUFFER = 1 << 16;
  /** How long a replica may take to be reported, in milliseconds. */
  private static final long REPORT_PATIENCE = 30_000;

  private final Configuration configuration;
  private final ObjectMapper json = new ObjectMapper();
  private final Map<String, FSDataOutputStream> open = new HashMap<>();
  private DistributedFileSystem connected;

  private Client(Configuration configuration) {
    this.configuration = configuration;
  }

  public static void main(String[] arguments) throws IOException {
    PrintStream answers = System.out;
    // What Hadoop's classes print is no answer.
    System.setOut(System.err);
    Client client = new Client(new HdfsConfiguration());
    BufferedReader requests =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line; (line = requests.readLine()) != null; ) {
      ObjectNode answer = client.json.createObjectNode();
      try {
        answer.put("output", client.serve(client.json.readTree(line)));
      } catch (Exception error) {
        answer.put("error", error.toString());
      }
      answers.println(client.json.writeValueAsString(answer));
      answers.flush();
    }
    // Without closing what is open.
    Runtime.getRuntime().halt(0);
  }

  private String serve(JsonNode request) throws Exception {
    String path = request.path("path").asText();
    switch (request.path("request").asText()) {
      case "put":
        for (JsonNode file : request.get("files")) {
          write(file).close();
        }
        for (JsonNode file : request.get("files")) {
          awaitPlacement(file);
        }
        return "";
      case "open":
        FSDataOutputStream stream = write(request.get("file"));
        stream.hflush();
        open.put(request.get("file").get("path").asText(), stream);
        return "";
      case "close":
        FSDataOutputStream held = open.remove(path);
        if (held == null) {
          throw new IOException(path + " is not held open here");
        }
        held.close();
        return "";
      case "put-erasure-coded":
        putErasureCoded(path, request.get("policy").asText(), request.get("content").binaryValue());
        return "";
      case "mkdirs":
        return String.valueOf(fileSystem().mkdirs(new Path(path)));
      case "delete":
        return String.valueOf(fileSystem().delete(new Path(path), true));
      case "tool":
        return tool(request);
      default:
        throw new IllegalArgumentException("unknown request " + request);
    }
  }

  private DistributedFileSystem fileSystem() throws IOException {
    if (connected == null) {
      connected = (DistributedFileSystem) FileSystem.get(configuration);
    }
    return connected;
  }

  /** Writes the runs of blocks of a file, each to its own DataNodes; the last stream stays open. */
  private FSDataOutputStream write(JsonNode file) throws IOException {
    Path path = new Path(file.get("path").asText());
    long blockSize = file.get("blockSize").asLong();
    short replication = (short) file.get("replication").asInt();
    JsonNode content = file.path("content");
    byte[] bytes = content.isTextual() ? content.binaryValue() : null;
    FSDataOutputStream stream = null;
    long written = 0;
    for (JsonNode run : file.get("runs")) {
      InetSocketAddress[] nodes =
          StreamSupport.stream(run.get("nodes").spliterator(), false)
              .map(node -> new InetSocketAddress(node.asText(), run.get("port").asInt()))
              .toArray(InetSocketAddress[]::new);
      if (stream == null) {
        stream =
            fileSystem()
                .create(
                    path,
                    FsPermission.getFileDefault(),
                    true,
                    BUFFER,
                    replication,
                    blockSize,
                    null,
                    nodes);
      } else {
        stream.close();
        stream =
            fileSystem()
                .append(
                    path,
                    EnumSet.of(CreateFlag.APPEND, CreateFlag.NEW_BLOCK),
                    BUFFER,
                    null,
                    nodes);
      }
      long length = run.get("bytes").asLong();
      if (bytes == null) {
        writeZeros(stream, length);
      } else {
        stream.write(bytes, (int) written, (int) length);
      }
      written += length;
    }
    return stream != null ? stream : fileSystem().create(path, true);
  }

  private static void writeZeros(FSDataOutputStream stream, long length) throws IOException {
    byte[] zeros = new byte[BUFFER];
    for (long left = length; left > 0; left -= zeros.length) {
      stream.write(zeros, 0, (int) Math.min(left, zeros.length));
    }
  }

  /** Waits until every replica is reported; refuses a replica on a DataNode that was not asked for. */
  private void awaitPlacement(JsonNode file) throws Exception {
    String path = file.get("path").asText();
    long blockSize = file.get("blockSize").asLong();
    long deadline = System.currentTimeMillis() + REPORT_PATIENCE;
    for (boolean whole = false; !whole; ) {
      whole = true;
      LocatedBlocks blocks = fileSystem().getClient().getLocatedBlocks(path, 0, Long.MAX_VALUE);
      for (JsonNode run : file.get("runs")) {
        long begin = run.get("offset").asLong();
        long end = begin + run.get("bytes").asLong();
        Set<String> wanted = new TreeSet<>();
        run.get("nodes").forEach(node -> wanted.add(node.asText()));
        for (LocatedBlock block : blocks.getLocatedBlocks()) {
          if (block.getStartOffset() < begin || block.getStartOffset() >= end) {
            continue;
          }
          Set<String> found = new TreeSet<>();
          Arrays.stream(block.getLocations()).map(DatanodeInfo::getIpAddr).forEach(found::add);
          whole &= found.equals(wanted);
          if (!wanted.containsAll(found)
              || !found.equals(wanted) && System.currentTimeMillis() > deadline) {
            throw new IOException(
                String.format(
                    "block %d of %s is on %s instead of %s; are these DataNodes live and in service?",
                    block.getStartOffset() / blockSize, path, found, wanted));
          }
        }
      }
      if (!whole) {
        Thread.sleep(20);
      }
    }
  }

  private void putErasureCoded(String path, String policy, byte[] content) throws IOException {
    fileSystem().enableErasureCodingPolicy(policy);
    try (FSDataOutputStream stream =
        fileSystem()
            .createFile(new Path(path))
            .recursive()
            .overwrite(true)
            .ecPolicyName(policy)
            .build()) {
      stream.write(content);
    }
  }

  /** Runs one of Hadoop's own commands and returns what it prints. */
  private String tool(JsonNode request) throws Exception {
    String[] arguments =
        StreamSupport.stream(request.get("arguments").spliterator(), false)
            .map(JsonNode::asText)
            .toArray(String[]::new);
    ByteArrayOutputStream said = new ByteArrayOutputStream();
    PrintStream out = System.out;
    PrintStream err = System.err;
    try (PrintStream capture = new PrintStream(said, true, StandardCharsets.UTF_8)) {
      System.setOut(capture);
      System.setErr(capture);
      int code = ToolRunner.run(configuration, tool(request.get("tool").asText(), capture), arguments);
      String text = said.toString(StandardCharsets.UTF_8);
      // fsck also tells by its status that what it found is not healthy.
      if (code != 0 && !request.path("lenient").asBoolean()) {
        throw new IOException(text.strip());
      }
      return text;
    } finally {
      System.setOut(out);
      System.setErr(err);
    }
  }

  private Tool tool(String name, PrintStream out) throws IOException {
    switch (name) {
      case "fsck":
        return new DFSck(configuration, out);
      case "dfsadmin":
        return new DFSAdmin(configuration);
      case "haadmin":
        return new DFSHAAdmin();
      default:
        throw new IllegalArgumentException("unknown tool " + name);
    }
  }
}
