//! Where the blocks of HDFS files are: a careful client of WebHDFS.
