import java.io.File;
import java.io.InputStream;
import java.net.URL;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.hdfs.HdfsConfiguration;
import org.apache.hadoop.hdfs.server.datanode.DataNode;
import org.apache.hadoop.hdfs.server.namenode.NameNode;
import org.apache.hadoop.hdfs.tools.DFSAdmin;
import org.apache.hadoop.hdfs.tools.DFSck;
import org.apache.hadoop.metrics2.lib.DefaultMetricsSystem;
import org.apache.hadoop.util.ToolRunner;

/**
 * A small HDFS in one process, from its start to its end: what it loads is what an archive of
 * classes is to hold, with which the real processes start in half the time.
 *
 * <p>Its argument is an empty directory.
 */
public final class Rehearsal {
  private static final String ANY_PORT = "127.0.0.1:0";

  public static void main(String[] arguments) throws Exception {
    Configuration configuration = new HdfsConfiguration();
    configuration.set("hadoop.tmp.dir", new File(arguments[0]).getAbsolutePath());
    configuration.set("fs.defaultFS", "hdfs://" + ANY_PORT);
    configuration.set("dfs.namenode.http-address", ANY_PORT);
    configuration.set("dfs.datanode.address", ANY_PORT);
    configuration.set("dfs.datanode.http.address", ANY_PORT);
    configuration.set("dfs.datanode.ipc.address", ANY_PORT);
    configuration.set("dfs.datanode.hostname", "localhost");
    configuration.set("dfs.namenode.safemode.extension", "0");
    // Two daemons in one process count under the same names.
    DefaultMetricsSystem.setMiniClusterMode(true);

    NameNode.format(configuration);
    NameNode nameNode = NameNode.createNameNode(new String[0], configuration);
    String http = "127.0.0.1:" + nameNode.getHttpAddress().getPort();
    configuration.set("dfs.namenode.http-address", http);
    configuration.set("fs.defaultFS", "hdfs://127.0.0.1:" + nameNode.getNameNodeAddress().getPort());
    DataNode.createDataNode(new String[0], configuration);
    while (nameNode.getNamesystem().getNumLiveDataNodes() == 0) {
      Thread.sleep(50);
    }

    try (FSDataOutputStream stream = FileSystem.get(configuration).create(new Path("/file"), (short) 1)) {
      stream.write(new byte[1 << 16]);
    }
    for (String page : new String[] {
      "/webhdfs/v1/file?op=OPEN",
      "/webhdfs/v1/file?op=GETFILEBLOCKLOCATIONS",
      "/webhdfs/v1/?op=LISTSTATUS",
      "/jmx",
    }) {
      try (InputStream answer = new URL("http://" + http + page).openStream()) {
        answer.readAllBytes();
      }
    }
    ToolRunner.run(
        configuration,
        new DFSck(configuration, System.err),
        new String[] {"/", "-files", "-blocks", "-locations"});
    ToolRunner.run(configuration, new DFSAdmin(configuration), new String[] {"-report"});
    System.exit(0);
  }
}
